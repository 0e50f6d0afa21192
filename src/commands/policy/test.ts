// `leasegate policy test`: every test in OPA's own engine and in the one that serves requests.
import type { Command } from 'commander'
import { isError } from '../../policy/diagnostic.ts'
import { test } from '../../policy/toolchain.ts'
import { say, sayJson, style } from '../terminal.ts'
import { directoryCommand, sayDiagnostics } from './directory.ts'

/** Adds `policy test [dir]`. */
export function addTestCommand(policy: Command): void {
  directoryCommand(
    policy,
    'test',
    "every test, in OPA's own engine and in the one that serves requests",
  ).action(run)
}

async function run(dir: string, { json }: { readonly json?: boolean }): Promise<void> {
  const { diagnostics, tests, coverage } = await test(dir)
  const ok = !diagnostics.some(isError)
  const covered = coverage === undefined ? '' : `, ${Math.round(coverage)} % of the lines reached`
  if (json === true) sayJson({ ok, diagnostics, tests, coverage })
  else sayDiagnostics(dir, diagnostics)
  if (ok && json !== true) {
    say(`${style.green('ok')} ${dir}: ${tests ?? 0} tests passed in both engines${covered}`)
  }
  if (!ok) process.exitCode = 1
}
