// `leasegate policy check|test|build|fmt`: the Rego toolchain on a policy directory. Needs no `opa`, no Go.
import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { type Diagnostic, formatDiagnostic } from '../policy/diagnostic.ts'
import { build, check, fmt, type Outcome, test } from '../policy/toolchain.ts'
import { say, sayJson, style, UsageError } from './terminal.ts'

interface PolicyOptions {
  readonly json?: boolean
}

const defaultDir = 'policies'

/** Adds the policy commands. */
export function addPolicyCommands(program: Command): void {
  const policy = program
    .command('policy')
    .description('check, test, compile and format Rego')
    .hook('preAction', (_, action) => requireDirectory(action.processedArgs[0]))
  const command = (name: string, description: string) =>
    policy
      .command(name)
      .description(description)
      .argument('[dir]', 'policy directory', defaultDir)
      .option('--json', 'for programs')
  command('check', 'syntax, types against the input schema, and what the engine cannot run').action(runCheck)
  command('test', "every test, in OPA's own engine and in the one that serves requests").action(runTest)
  command('build', 'compile to WebAssembly')
    .option('-o, --output <file>', 'where to write it', 'policy.wasm')
    .action(runBuild)
  command('fmt', 'format every .rego file in place')
    .option('--check', 'write nothing; exit 1 when a file is not formatted')
    .action(runFmt)
}

function requireDirectory(dir: string): void {
  if (statSync(dir, { throwIfNoEntry: false })?.isDirectory() === true) return
  throw new UsageError(`${dir}: not a directory with policies`)
}

async function runCheck(dir: string, options: PolicyOptions): Promise<void> {
  report(dir, await check(dir), options, () => 'no problems')
}

async function runTest(dir: string, options: PolicyOptions): Promise<void> {
  report(dir, await test(dir), options, ({ tests, coverage }) => {
    const covered = coverage === undefined ? '' : `, ${Math.round(coverage)} % of the lines reached`
    return `${tests ?? 0} tests passed in both engines${covered}`
  })
}

async function runBuild(dir: string, options: PolicyOptions & { output: string }): Promise<void> {
  const outcome = await build(dir)
  if (outcome.wasm !== undefined) await writeFile(options.output, outcome.wasm)
  report(dir, outcome, options, ({ wasm }) => {
    const digest = createHash('sha256').update(wasm!).digest('hex')
    return `${options.output}  ${Math.ceil(wasm!.byteLength / 1024)} KiB  sha256:${digest}`
  })
}

async function runFmt(dir: string, options: PolicyOptions & { check?: boolean }): Promise<void> {
  const { diagnostics, changed } = await fmt(dir, { write: options.check !== true })
  if (options.json === true) sayJson({ diagnostics, changed })
  else {
    sayDiagnostics(dir, diagnostics)
    for (const file of changed)
      say(`${options.check === true ? 'not formatted' : 'formatted'} ${join(dir, file)}`)
    if (diagnostics.length === 0 && changed.length === 0) say(`${style.green('ok')} ${dir}: all formatted`)
  }
  if (diagnostics.length > 0 || (options.check === true && changed.length > 0)) process.exitCode = 1
}

function report(
  dir: string,
  outcome: Outcome,
  { json }: PolicyOptions,
  summary: (outcome: Outcome) => string,
): void {
  const { diagnostics, tests, coverage } = outcome
  const ok = diagnostics.length === 0
  if (json === true) sayJson({ ok, diagnostics, tests, coverage })
  else if (ok) say(`${style.green('ok')} ${dir}: ${summary(outcome)}`)
  else sayDiagnostics(dir, diagnostics)
  if (!ok) process.exitCode = 1
}

function sayDiagnostics(dir: string, diagnostics: readonly Diagnostic[]): void {
  for (const diagnostic of diagnostics) {
    const file = diagnostic.file === '' ? '' : join(dir, diagnostic.file)
    say(`${style.red('error')} ${formatDiagnostic({ ...diagnostic, file })}`)
  }
}
