// `leasegate policy check`: everything that can be said about Rego without running it.
import type { Command } from 'commander'
import { check } from '../../policy/toolchain.ts'
import { say, sayJson, style } from '../terminal.ts'
import { directoryCommand, sayDiagnostics } from './directory.ts'

/** Adds `policy check [dir]`. */
export function addCheckCommand(policy: Command): void {
  directoryCommand(
    policy,
    'check',
    'syntax, types against the input schema, and what the engine cannot run',
  ).action(run)
}

async function run(dir: string, { json }: { readonly json?: boolean }): Promise<void> {
  const { diagnostics } = await check(dir)
  const ok = diagnostics.length === 0
  if (json === true) sayJson({ ok, diagnostics })
  else if (ok) say(`${style.green('ok')} ${dir}: no problems`)
  else sayDiagnostics(dir, diagnostics)
  if (!ok) process.exitCode = 1
}
