// In: a policy directory, or sources read from one. Out: diagnostics, a compiled module, formatted files.
// Each call runs in a process of its own (toolchain_child.ts), so that neither the compiler's memory nor a
// test that never ends reaches the gate. Never writes a file, except `fmt` when it is asked to.
import { fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { setPriority } from 'node:os'
import { dirname, join } from 'node:path'
import type { Diagnostic } from './diagnostic.ts'
import { fileError, PolicyError } from './diagnostic.ts'
import { decisionEntrypoint } from './evaluate.ts'
import { inputSchemaText } from './input_schema.ts'
import { issueEntrypoint } from './issue.ts'
import { issueSchemaText } from './issue_schema.ts'
import type { MappedOperation } from './mapped.ts'
import { type PolicySources, readPolicy } from './sources.ts'
import { testDiagnostics } from './test_report.ts'
import type { Job, Operation, Outcome, Progress, SealedBundle } from './toolchain_child.ts'

export type { Outcome, Rule } from './toolchain_child.ts'

const childTimeoutMs = 30_000
// A quarter of a core that the gate wants whole.
const niceness = 5
// A gate that is asked such a question answers nobody meanwhile.
const rehearsalTimeoutMs = 2_000
// Above the 5 s after which OPA's engine ends a test by itself (regoc/test.go).
const testTimeoutMs = 8_000
const suffix = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const childUrl = new URL(`./toolchain_child.${suffix}`, import.meta.url)

/**
 * Syntax, types (against the schema of the input), strictness, capabilities, the decision, and what no request
 * could reach; with `mapped`, also what no operation could.
 */
export function check(dir: string, mapped: readonly MappedOperation[] = []): Promise<Outcome> {
  return runOn(dir, ['check'], mapped)
}

/** Which tests to run, and how much to say about them. */
export interface TestOptions {
  /** A pattern (RE2) on `data.package.test_name`; absent: all. */
  readonly run?: string
  /** Trace the tests that fail. */
  readonly explain?: boolean
  readonly signal?: AbortSignal
}

/** `check`, then every test in OPA's own engine and in the one that decides in production. */
export function test(dir: string, options: TestOptions = {}): Promise<Outcome> {
  return withSources(dir, (sources) => testSources(sources, options))
}

/** `test` of sources read before. A module compiled elsewhere has none, and so no tests. */
export async function testSources(sources: PolicySources, options: TestOptions): Promise<Outcome> {
  if (sources.wasm !== undefined) return { diagnostics: [], tests: 0 }
  const { signal, ...how } = options
  return runJob(sources, { operations: ['check', 'test'], ...how }, signal)
}

/** `check`, then the module; its tests are not run. */
export function build(dir: string): Promise<Outcome> {
  return runOn(dir, ['check', 'build'])
}

/** `build`, and a second module that has every rule as an entry point. Nothing but `wasm` of a compiled one. */
export function buildWithRules(dir: string): Promise<Outcome> {
  return runOn(dir, ['build', 'rules'])
}

/** What the toolchain works on. */
export interface ToolchainInput extends PolicySources {
  /** What the configuration maps, for `check`. */
  readonly mapped?: readonly MappedOperation[]
  readonly bundle?: SealedBundle
  /** For `explain`. */
  readonly inputs?: readonly unknown[]
}

/**
 * Formats every `.rego` file as `opa fmt` does. `changed` names those that differ; they are written only
 * with `write`.
 */
export async function fmt(
  dir: string,
  { write }: { readonly write: boolean },
): Promise<{ diagnostics: readonly Diagnostic[]; changed: readonly string[] }> {
  const { sources, diagnostics } = await readOrDiagnose(dir)
  if (sources === undefined) return { diagnostics, changed: [] }
  const outcome = await runToolchain(sources, ['fmt'])
  const changed = Object.entries(outcome.formatted ?? {}).filter(
    ([path, text]) => sources.files[path] !== text,
  )
  if (write) await Promise.all(changed.map(([path, text]) => writeFile(join(dir, path), text)))
  return { diagnostics: outcome.diagnostics, changed: changed.map(([path]) => path) }
}

/**
 * Runs operations on sources in one child process, until one of them reports an error. Rejects when the
 * child cannot do its work (artifact missing or altered, time over, aborted), never for a mistake in the
 * policy.
 */
export function runToolchain(
  sources: ToolchainInput,
  operations: readonly Operation[],
  signal?: AbortSignal,
): Promise<Outcome> {
  return runJob(sources, { operations }, signal)
}

function runJob(
  { files, data, wasm, mapped = [], bundle, inputs }: ToolchainInput,
  what: Pick<Job, 'operations' | 'run' | 'explain'>,
  signal: AbortSignal | undefined,
): Promise<Outcome> {
  const schema: unknown = JSON.parse(inputSchemaText())
  const entrypoints = [decisionEntrypoint]
  const topics = [{ entrypoint: issueEntrypoint, schema: JSON.parse(issueSchemaText()) as unknown }]
  const job: Job = {
    regoc: regocDir(),
    files,
    data,
    wasm,
    schema,
    entrypoints,
    topics,
    mapped,
    bundle,
    inputs,
    ...what,
  }
  return new Promise((resolve, reject) => {
    // An empty environment: nothing of the gate's secrets or options reaches a policy under test.
    const child = fork(childUrl, {
      ...(signal === undefined ? {} : { signal }),
      env: {},
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      timeout: childTimeoutMs,
      killSignal: 'SIGKILL',
    })
    yieldToRequests(child.pid)
    let complaint = ''
    let outcome: Outcome | undefined
    let running: Progress['running'] = null
    let timer: NodeJS.Timeout | undefined
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-2000)
    })
    child.on('message', (message: Outcome | Progress) => {
      clearTimeout(timer)
      if ('diagnostics' in message) {
        outcome = message
        return
      }
      running = message.running
      if (running === null) return
      const isRehearsal = running.entrypoint === decisionEntrypoint
      const endless = isRehearsal ? tooSlow : neverEnded(running)
      timer = setTimeout(
        () => {
          outcome = endless
          child.kill('SIGKILL')
        },
        isRehearsal ? rehearsalTimeoutMs : testTimeoutMs,
      )
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      const during = running === null ? '' : ` during ${running.entrypoint} in ${running.engine}`
      if (outcome !== undefined) resolve(outcome)
      else
        reject(new Error(`the Rego toolchain ended with ${signal ?? `code ${code}`}${during}: ${complaint}`))
    })
    child.send(job)
  })
}

const tooSlow: Outcome = {
  diagnostics: fileError(
    '',
    'decision_too_slow',
    `no answer to the sample input of docs/policy.md within ${rehearsalTimeoutMs / 1000} s`,
  ).diagnostics,
}

/** All that is known of a run that a test brought to a halt: which test that was. */
function neverEnded({ entrypoint, engine, file, line, column }: NonNullable<Progress['running']>): Outcome {
  const path = entrypoint.split('/')
  const message = `did not end within ${testTimeoutMs / 1000} s in ${engine}; no other test is reported`
  const failure = { code: 'test_timeout', message } as const
  const test = { package: path.slice(0, -1).join('.'), name: path.at(-1)!, file, line, column, failure }
  return { diagnostics: testDiagnostics([test]), tests: 1, report: { tests: [test], coverage: [] } }
}

function runOn(
  dir: string,
  operations: readonly Operation[],
  mapped: readonly MappedOperation[] = [],
): Promise<Outcome> {
  return withSources(dir, async (sources) =>
    // A module compiled elsewhere has no sources to say anything about.
    sources.wasm === undefined
      ? runToolchain({ ...sources, mapped }, operations)
      : { diagnostics: [], wasm: sources.wasm },
  )
}

async function withSources(dir: string, run: (sources: PolicySources) => Promise<Outcome>): Promise<Outcome> {
  const { sources, diagnostics } = await readOrDiagnose(dir)
  return sources === undefined ? { diagnostics } : run(sources)
}

async function readOrDiagnose(
  dir: string,
): Promise<{ sources?: PolicySources; diagnostics: readonly Diagnostic[] }> {
  try {
    return { sources: await readPolicy(dir), diagnostics: [] }
  } catch (thrown) {
    if (thrown instanceof PolicyError) return { diagnostics: thrown.diagnostics }
    throw thrown
  }
}

/** The `regoc/` of this package: beside `src/`, or beside the `dist/` that holds the compiled `src/`. */
function regocDir(): string {
  for (let dir = import.meta.dirname; dir !== dirname(dir); dir = dirname(dir)) {
    if (existsSync(join(dir, 'regoc', 'regoc.wasm.br'))) return join(dir, 'regoc')
  }
  throw new Error('regoc/regoc.wasm.br is missing from this installation')
}

/** Where compiler and gate want one core, requests come first. A system that refuses this compiles all the same. */
function yieldToRequests(pid: number | undefined): void {
  try {
    if (pid !== undefined) setPriority(pid, niceness)
  } catch {
    // The child has ended already, or processes may not be slowed down here.
  }
}
