// Loaded into every process that a test starts, and into their children: V8 would optimise PostgreSQL's WebAssembly in
// the background, for longer than it is used there. --liftoff-only does the same, but not in NODE_OPTIONS.
import { setFlagsFromString } from 'node:v8'

setFlagsFromString('--wasm-tier-up-filter=0')
