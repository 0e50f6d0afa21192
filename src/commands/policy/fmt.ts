// `leasegate policy fmt`: every .rego file in the canonical layout of `opa fmt`.
import { join } from 'node:path'
import type { Command } from 'commander'
import { fmt } from '../../policy/toolchain.ts'
import { say, sayJson, snaked, style } from '../terminal.ts'
import { directoryCommand, sayDiagnostics } from './directory.ts'

interface FmtOptions {
  readonly json?: boolean
  readonly check?: boolean
}

/** Adds `policy fmt [dir]`. */
export function addFmtCommand(policy: Command): void {
  directoryCommand(policy, 'fmt', 'format every .rego file in place')
    .option('--check', 'write nothing; exit 1 when a file is not formatted')
    .action(run)
}

async function run(dir: string, { json, check }: FmtOptions): Promise<void> {
  const { diagnostics, changed } = await fmt(dir, { write: check !== true })
  const ok = diagnostics.length === 0 && (check !== true || changed.length === 0)
  if (json === true) sayJson(snaked({ ok, diagnostics, changed }))
  else {
    sayDiagnostics(dir, diagnostics)
    for (const file of changed) say(`${check === true ? 'not formatted' : 'formatted'} ${join(dir, file)}`)
    if (diagnostics.length === 0 && changed.length === 0) say(`${style.green('ok')} ${dir}: all formatted`)
  }
  if (!ok) process.exitCode = 1
}
