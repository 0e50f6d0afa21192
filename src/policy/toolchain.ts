// In: a policy directory, or sources read from one. Out: diagnostics, a compiled module, formatted files.
// Each call runs in a process of its own (toolchain_child.ts), so that neither the compiler's memory nor a
// test that never ends reaches the gate. Never writes a file, except `fmt` when it is asked to.
import { fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Diagnostic } from './diagnostic.ts'
import { PolicyError } from './diagnostic.ts'
import { decisionEntrypoint } from './evaluate.ts'
import { inputSchemaText } from './input_schema.ts'
import type { MappedOperation } from './mapped.ts'
import { type PolicySources, readPolicy } from './sources.ts'
import type { Job, Operation, Outcome } from './toolchain_child.ts'

export type { Outcome, Rule } from './toolchain_child.ts'

const childTimeoutMs = 30_000
const suffix = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const childUrl = new URL(`./toolchain_child.${suffix}`, import.meta.url)

/**
 * Syntax, types (against the schema of the input), strictness, capabilities, the decision, and what no request
 * could reach; with `mapped`, also what no operation could.
 */
export function check(dir: string, mapped: readonly MappedOperation[] = []): Promise<Outcome> {
  return runOn(dir, ['check'], mapped)
}

/** `check`, then every test in OPA's own engine and in the one that decides in production. */
export function test(dir: string): Promise<Outcome> {
  return runOn(dir, ['check', 'test'])
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
  const { files, data, mapped = [] } = sources
  const schema: unknown = JSON.parse(inputSchemaText())
  const entrypoints = [decisionEntrypoint]
  const job: Job = { regoc: regocDir(), operations, files, data, schema, entrypoints, mapped }
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
    let complaint = ''
    let outcome: Outcome | undefined
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-2000)
    })
    child.once('message', (message) => {
      outcome = message as Outcome
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (outcome !== undefined) resolve(outcome)
      else reject(new Error(`the Rego toolchain ended with ${signal ?? `code ${code}`}: ${complaint}`))
    })
    child.send(job)
  })
}

async function runOn(
  dir: string,
  operations: readonly Operation[],
  mapped: readonly MappedOperation[] = [],
): Promise<Outcome> {
  const { sources, diagnostics } = await readOrDiagnose(dir)
  if (sources === undefined) return { diagnostics }
  // A module compiled elsewhere has no sources to say anything about.
  if (sources.wasm !== undefined) return { diagnostics: [], wasm: sources.wasm }
  return runToolchain({ ...sources, mapped }, operations)
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
