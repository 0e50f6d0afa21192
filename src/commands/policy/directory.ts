// What every command on a policy directory shares: its argument, and how mistakes in it are shown.
import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { type Diagnostic, formatDiagnostic } from '../../policy/diagnostic.ts'
import { say, style, UsageError } from '../terminal.ts'

/** A command `policy NAME [dir] --json`; fails with a UsageError when `dir` is no directory. */
export function directoryCommand(policy: Command, name: string, description: string): Command {
  return policy
    .command(name)
    .description(description)
    .argument('[dir]', 'policy directory', 'policies')
    .option('--json', 'for programs')
    .hook('preAction', (_, action) => requireDirectory(action.processedArgs[0]))
}

/** Throws a UsageError when `dir` is not a directory. */
export function requireDirectory(dir: string): void {
  if (statSync(dir, { throwIfNoEntry: false })?.isDirectory() === true) return
  throw new UsageError(`${dir}: not a directory with policies`)
}

/** One line each, with the file as the caller would open it. */
export function sayDiagnostics(dir: string, diagnostics: readonly Diagnostic[]): void {
  for (const diagnostic of diagnostics) {
    const file = diagnostic.file === '' ? '' : join(dir, diagnostic.file)
    say(`${style.red('error')} ${formatDiagnostic({ ...diagnostic, file })}`)
  }
}
