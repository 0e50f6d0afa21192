// What every command on a policy directory shares: its argument, and how mistakes in it are shown.
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import type { Diagnostic } from '../../policy/diagnostic.ts'
import { say, style, UsageError } from '../terminal.ts'
import { excerpt, shown } from './excerpt.ts'

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
  const stat = statSync(dir, { throwIfNoEntry: false })
  if (stat?.isDirectory() === true) return
  const begin = '`leasegate policy init` writes a first policy'
  throw new UsageError(`${dir}: ${stat === undefined ? `no such directory; ${begin}` : 'not a directory'}`)
}

/** Each with its source line, and with the file as the caller would open it. */
export function sayDiagnostics(dir: string, diagnostics: readonly Diagnostic[]): void {
  const sources = new Map<string, string | undefined>()
  for (const diagnostic of diagnostics) {
    const file = join(dir, diagnostic.file)
    if (!sources.has(file)) sources.set(file, sourceText(file))
    for (const line of excerpt({ ...diagnostic, file }, sources.get(file), style)) say(line)
  }
  if (diagnostics.some(({ code }) => code === 'test_failed' || code === 'engines_differ')) {
    say(style.dim(`  leasegate policy test ${dir} shows what came out`))
  }
}

/** Undefined for what is no readable text file: a file in a bundle, a file that is gone, bytes that are no text. */
function sourceText(file: string): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file))
  } catch {
    return undefined
  }
}

/** A line for each rule that is marked shadow: who reads the output should know that it decides nothing. */
export function sayShadowRules(rules: readonly string[] | undefined): void {
  for (const rule of rules ?? []) say(`${style.yellow('shadow')} ${shown(rule)} takes no part in decisions`)
}
