// `leasegate policy build`: Rego in, the WebAssembly module that a gate loads out, and the digest under
// which gates and records know it together with its data.
import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { policyDigest } from '../../policy/evaluate.ts'
import { readPolicy } from '../../policy/sources.ts'
import { build } from '../../policy/toolchain.ts'
import { say, sayJson, snaked, style } from '../terminal.ts'
import { directoryCommand, sayDiagnostics, sayShadowRules } from './directory.ts'

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
  const { diagnostics, wasm, shadow, shadowRules } = await build(dir)
  if (wasm !== undefined) await writeFile(output, wasm)
  const marked = shadow === undefined ? {} : { shadow }
  const digest =
    wasm === undefined ? undefined : policyDigest({ wasm, ...marked, data: (await readPolicy(dir)).data })
  if (json === true)
    sayJson(
      snaked({ ok: wasm !== undefined, diagnostics, digest: digest ?? null, shadowRules: shadowRules ?? [] }),
    )
  else {
    sayDiagnostics(dir, diagnostics)
    sayShadowRules(shadowRules)
  }
  if (wasm === undefined) process.exitCode = 1
  else if (json !== true) {
    say(`${style.green('ok')} ${output}  ${Math.ceil(wasm.byteLength / 1024)} KiB  ${digest}`)
  }
}
