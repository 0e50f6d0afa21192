// `leasegate policy build`: Rego in, the WebAssembly module that a gate loads out, and the digest under
// which gates and records know it together with its data.
import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { policyDigest } from '../../policy/evaluate.ts'
import { type PolicySources, readPolicy } from '../../policy/sources.ts'
import { build, type Outcome } from '../../policy/toolchain.ts'
import { say, sayJson, style } from '../terminal.ts'
import { directoryCommand, sayDiagnostics } from './directory.ts'

interface BuildOptions {
  readonly json?: boolean
  readonly output: string
}

/** Adds `policy build [dir]`. */
export function addBuildCommand(policy: Command): void {
  directoryCommand(policy, 'build', 'compile to WebAssembly')
    .option('-o, --output <file>', 'where to write it', 'policy.wasm')
    .action(run)
}

async function run(dir: string, { json, output }: BuildOptions): Promise<void> {
  const built: Outcome & Pick<PolicySources, 'shadow'> = await build(dir)
  const { diagnostics, wasm, shadow } = built
  if (wasm !== undefined) await writeFile(output, wasm)
  const marked = shadow === undefined ? {} : { shadow }
  const digest =
    wasm === undefined ? undefined : policyDigest({ wasm, ...marked, data: (await readPolicy(dir)).data })
  if (json === true) sayJson({ ok: wasm !== undefined, diagnostics, digest })
  else sayDiagnostics(dir, diagnostics)
  if (wasm === undefined) process.exitCode = 1
  else if (json !== true) {
    say(`${style.green('ok')} ${output}  ${Math.ceil(wasm.byteLength / 1024)} KiB  ${digest}`)
  }
}
