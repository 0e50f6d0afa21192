// The short-lived process that compiles: jobs in and results out over the IPC channel, then it ends. Loads
// the Rego compiler (40 MB of WebAssembly, up to 320 MB of memory), which the serving process never does.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { brotliDecompressSync } from 'node:zlib'
import { type Diagnostic, isError } from './diagnostic.ts'
import { ask as askEngine, decisionEntrypoint, openEngine } from './evaluate.ts'
import { askIssue } from './issue.ts'
import { sampleQuestion } from './issue_sample.ts'
import type { MappedOperation } from './mapped.ts'
import { sampleInput } from './sample.ts'
import { secondOpinion, type TestPlace, type TestReply, type TraceReply } from './second_opinion.ts'
import type { Tree } from './sources.ts'
import { coveredPercent, type TestReport, testDiagnostics } from './test_report.ts'
import type { Trace } from './trace.ts'

/** What the child is asked: operations of the compiler, in order, until one fails. */
export interface Job {
  /** Where the compiler lies. */
  readonly regoc: string
  readonly operations: readonly Operation[]
  readonly files: Readonly<Record<string, string>>
  readonly data: Tree
  readonly schema: unknown
  readonly entrypoints: readonly string[]
  /** Entry points with an input of their own that a policy may do without: it has them with their package. */
  readonly topics: readonly { readonly entrypoint: string; readonly schema: unknown }[]
  /** What the configuration maps; empty: nothing is known about it. */
  readonly mapped: readonly MappedOperation[]
  /** For `rehearse` without `build`: a module compiled elsewhere. */
  readonly wasm?: Uint8Array | undefined
  /** For `test`: which tests, as a pattern on `data.package.test_name`. */
  readonly run?: string
  /** For `bundle` alone, which reads nothing else of the job. */
  readonly bundle?: SealedBundle | undefined
  /** For `explain`: policy inputs. */
  readonly inputs?: readonly unknown[] | undefined
  /** For `test`: trace those that fail. */
  readonly explain?: boolean
}

/** What the child says while it works: the test that begins, in one of the engines; null when all have ended. */
export interface Progress {
  readonly running: (TestPlace & { readonly engine: string }) | null
}

export type Operation =
  | 'check'
  | 'test'
  | 'build'
  | 'fmt'
  | 'rules'
  | 'reads'
  | 'bundle'
  | 'explain'
  /** Asks the module about the sample input and the sample question once, because nobody could interrupt it in the gate. */
  | 'rehearse'

/** A packed OPA bundle, and whose signature it has to carry. */
export interface SealedBundle {
  /** As `opa build` writes it: tar, gzip. */
  readonly archive: Uint8Array
  /** Public keys, PEM, by the id that a signature names. */
  readonly keys: Readonly<Record<string, { readonly key: string; readonly algorithm: string }>>
  /** What `scope` in the signature has to be; '' where it has none. */
  readonly scope: string
}

/** What a bundle with a good signature holds. */
export interface OpenedBundle {
  readonly files: Readonly<Record<string, string>>
  readonly data: Tree
  readonly wasm?: Uint8Array
  /** Of the manifest; '' where it names none. */
  readonly revision: string
}

/** What the child answers; the members of an operation that did not run are absent. */
export interface Outcome {
  /** After an error nothing further was done; after warnings alone everything was. */
  readonly diagnostics: readonly Diagnostic[]
  /** How many tests ran, in each of both engines. */
  readonly tests?: number
  /** Percent of the policy's lines that the tests reached. */
  readonly coverage?: number
  readonly report?: TestReport
  readonly wasm?: Uint8Array
  /** The policy as written, when rules of it are marked shadow; `wasm` is then without them. */
  readonly shadow?: Uint8Array
  /** The rules marked shadow, with file and line, for people. */
  readonly shadowRules?: readonly string[]
  readonly formatted?: Readonly<Record<string, string>>
  /** Every rule that can be asked for alone, and a module that has them as entry points. */
  readonly rules?: { readonly wasm: Uint8Array; readonly list: readonly Rule[] }
  /** Paths of the input that the entry points can read, such as `request.body`; '' is all of it. */
  readonly reads?: readonly string[]
  readonly bundle?: OpenedBundle
  /** How the decision on each of the inputs came about, as OPA's engine sees it. */
  readonly explanations?: readonly Trace[]
}

/** One rule, at the first of its definitions. */
export interface Rule {
  /** As in the module: `leasegate/authz/permitted`. */
  readonly entrypoint: string
  readonly file: string
  readonly line: number
  /** Of its annotation. */
  readonly title?: string
}

// The reply of regoc (regoc/main.go).
interface Reply extends TestReply, TraceReply {
  readonly ok: boolean
  readonly errors: readonly Diagnostic[]
  readonly files?: Readonly<Record<string, string>>
  readonly rules?: readonly Rule[]
  readonly reads?: readonly string[]
  readonly shadow?: string
  readonly shadow_rules?: readonly string[]
  readonly explanations?: readonly Trace[]
  readonly bundle?: Omit<OpenedBundle, 'wasm'> & { readonly wasm?: string }
}
type Regoc = (request: string) => Promise<string>

// From Go's wasm_exec.js and from regoc itself; Node has WebAssembly, TypeScript's ES library does not.
declare const Go: new () => { readonly importObject: object; run(instance: object): Promise<void> }
declare const WebAssembly: { instantiate(bytes: Uint8Array, imports: object): Promise<{ instance: object }> }
declare const regoc: Regoc

/** Starts the compiler. Throws when the artifact is not the one its hash names. */
async function startRegoc(dir: string): Promise<Regoc> {
  const packed = readFileSync(join(dir, 'regoc.wasm.br'))
  const [expected] = readFileSync(join(dir, 'regoc.wasm.br.sha256'), 'utf8').split(' ', 1)
  const actual = createHash('sha256').update(packed).digest('hex')
  if (actual !== expected) throw new Error('regoc.wasm.br does not match regoc.wasm.br.sha256')
  // The optimising compiler would never earn back its time here: 2.3 s of CPU instead of 3.5 s, a third less
  // memory. A V8 that does not know the flag ignores it.
  setFlagsFromString('--liftoff-only')
  // Our own bytes, by their hash: validating functions that are never called takes 70 ms.
  setFlagsFromString('--wasm-lazy-validation')
  await import(pathToFileURL(join(dir, 'wasm_exec.js')).href)
  const go = new Go()
  const { instance } = await WebAssembly.instantiate(brotliDecompressSync(packed), go.importObject)
  // Never settles: the compiler waits for calls until the process ends.
  void go.run(instance)
  return regoc
}

async function work(job: Job): Promise<Outcome> {
  const { files, data, schema, entrypoints, topics, mapped, run: pattern = '', inputs } = job
  let run: Regoc | undefined
  const ask = async (op: string, more: object): Promise<Reply> => {
    run ??= await startRegoc(job.regoc)
    return JSON.parse(await run(JSON.stringify({ op, files, data, schema, topics, ...more })))
  }
  const bundle = job.bundle && { ...job.bundle, archive: base64(job.bundle.archive) }
  let outcome: Outcome = { diagnostics: [] }
  for (const op of job.operations) {
    if (op === 'rehearse') {
      await rehearse(outcome.wasm ?? job.wasm, data)
      continue
    }
    const reply = await ask(op, { entrypoints, operations: mapped, run: pattern, bundle, inputs })
    const warnings = outcome.diagnostics
    outcome = { ...outcome, diagnostics: [...warnings, ...reply.errors] }
    if (!reply.ok) return outcome
    outcome = { ...outcome, ...shadowOf(reply) }
    if (op === 'test') {
      const explain = job.explain === true ? (failed: object) => ask('trace', failed) : undefined
      const tests = tested(await secondOpinion(reply, { data, explain, announce }))
      outcome = { ...outcome, ...tests, diagnostics: [...warnings, ...tests.diagnostics] }
    }
    const wasm = Buffer.from(reply.wasm ?? '', 'base64')
    if (op === 'build') outcome = { ...outcome, wasm }
    if (op === 'rules') outcome = { ...outcome, rules: { wasm, list: reply.rules ?? [] } }
    if (op === 'bundle') outcome = { ...outcome, ...opened(reply) }
    if (op === 'fmt') outcome = { ...outcome, formatted: reply.files ?? {} }
    if (op === 'reads') outcome = { ...outcome, reads: reply.reads ?? [] }
    if (op === 'explain') outcome = { ...outcome, explanations: reply.explanations ?? [] }
    if (outcome.diagnostics.some(isError)) return outcome
  }
  return outcome
}

/** Whatever it answers or throws, the gate will find the same: here it is about an end. */
async function rehearse(wasm: Uint8Array | undefined, data: Tree): Promise<void> {
  if (wasm === undefined) return
  announce({ entrypoint: decisionEntrypoint, file: '', line: 0, column: 0, engine: 'WebAssembly' })
  try {
    const engine = await openEngine({ wasm, data })
    askEngine(engine, JSON.stringify(sampleInput))
    askIssue(engine, sampleQuestion)
  } catch {
    // No module: said where it is loaded.
  }
  announce(null)
}

/** What a reply says about rules marked shadow; nothing when there are none. */
function shadowOf({ shadow, shadow_rules: shadowRules }: Reply): Pick<Outcome, 'shadow' | 'shadowRules'> {
  return {
    ...(shadow === undefined ? {} : { shadow: Buffer.from(shadow, 'base64') }),
    ...(shadowRules === undefined ? {} : { shadowRules }),
  }
}

function opened({ bundle }: Reply): Pick<Outcome, 'bundle'> {
  if (bundle === undefined) return {}
  const { wasm, ...rest } = bundle
  return { bundle: wasm === undefined ? rest : { ...rest, wasm: Buffer.from(wasm, 'base64') } }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

function tested(report: TestReport): Outcome {
  const { tests, coverage } = report
  const percent = tests.length === 0 ? {} : { coverage: coveredPercent(coverage) }
  return { diagnostics: testDiagnostics(tests), tests: tests.length, ...percent, report }
}

function announce(running: Progress['running']): void {
  process.send?.({ running } satisfies Progress)
}

// regoc calls it (regoc/test.go).
Object.assign(globalThis, {
  regocTestBegins(entrypoint?: string, file = '', line = 0, column = 0) {
    announce(entrypoint === undefined ? null : { entrypoint, file, line, column, engine: 'OPA' })
  },
})

process.once('message', (job: Job) => {
  work(job).then(
    (outcome) => process.send?.(outcome, () => process.exit(0)),
    (thrown: unknown) => {
      process.stderr.write(thrown instanceof Error ? thrown.message : 'unknown failure')
      process.exitCode = 1
      process.disconnect()
      process.exit()
    },
  )
})
