// How a process ends, and how several share a port.

export { exitWith, explain } from './exit.ts'
export { onOrphaned } from './orphan.ts'
export { DRAIN, runWorkers } from './workers.ts'
