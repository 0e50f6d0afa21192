// `leasegate policy check`: everything that can be said about Rego without running it.
import type { Command } from 'commander'
import { mappedOperations } from '../../policy/mapped.ts'
import { check } from '../../policy/toolchain.ts'
import { loadStateConfig } from '../state_config.ts'
import { say, sayJson, snaked, style } from '../terminal.ts'
import { directoryCommand, sayDiagnostics, sayShadowRules } from './directory.ts'

/** Adds `policy check [dir]`. */
export function addCheckCommand(policy: Command): void {
  directoryCommand(policy, 'check', 'syntax, types against the input schema, and what can never be right')
    .option('-c, --config <file>', 'also find rules that none of its operations can reach')
    .action(run)
}

interface CheckOptions {
  readonly json?: boolean
  readonly config?: string
}

async function run(dir: string, { json, config }: CheckOptions): Promise<void> {
  const mapped = config === undefined ? [] : mappedOperations(loadStateConfig(config).backends)
  const { diagnostics, shadowRules } = await check(dir, mapped)
  const ok = diagnostics.length === 0
  if (json === true) sayJson(snaked({ ok, diagnostics, shadowRules: shadowRules ?? [] }))
  else if (ok) say(`${style.green('ok')} ${dir}: no problems`)
  else sayDiagnostics(dir, diagnostics)
  if (json !== true) sayShadowRules(shadowRules)
  if (!ok) process.exitCode = 1
}
