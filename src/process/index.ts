// How the process ends, and how several share a port.

export { exitWith, explain } from './exit.ts'
export { DRAIN, runWorkers } from './workers.ts'
