// How a process ends.

export { exitWith, explain } from './exit.ts'
export { onOrphaned } from './orphan.ts'
