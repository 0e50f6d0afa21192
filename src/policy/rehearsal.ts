// In: a policy directory. Out: its policy, made as the gate would make it to go live (checked, tested on both
// engines, compiled, loaded), and what it reads. Never decides a request.
import type { Policy } from '../ports.ts'
import { isError, PolicyError } from './diagnostic.ts'
import { load } from './live.ts'
import { readPolicy } from './sources.ts'
import { runToolchain } from './toolchain.ts'

/** A policy to rehearse. */
export interface Rehearsal {
  readonly policy: Policy
  /** Paths of the input that it can read; '' is all of it, which is what is assumed of a compiled module. */
  readonly reads: readonly string[]
}

/** Opens the candidate in `dir`. Throws `PolicyError` with everything that would keep it from going live. */
export async function openRehearsal(dir: string): Promise<Rehearsal> {
  const sources = await readPolicy(dir)
  if (sources.wasm !== undefined)
    return { policy: await load({ wasm: sources.wasm, data: sources.data }), reads: [''] }
  const { diagnostics, wasm, reads } = await runToolchain(sources, ['check', 'test', 'build', 'reads'])
  const errors = diagnostics.filter(isError)
  if (errors.length > 0) throw new PolicyError(errors)
  if (wasm === undefined) throw new Error('the Rego toolchain gave no module')
  return { policy: await load({ wasm, data: sources.data }), reads: reads ?? [''] }
}
