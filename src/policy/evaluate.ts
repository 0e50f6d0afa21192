// In: a WebAssembly module that OPA compiled from Rego, its data, and the text of one policy input. Out: an
// answer the gate can act on. The only importer of opa-wasm, and total once loaded: whatever a policy does,
// the worst that comes out is `deny` with its fault. Never repairs an answer it does not fully understand.
import { createHash } from 'node:crypto'
import * as sdk from '@open-policy-agent/opa-wasm'
import type { IssuePolicy } from '../broker/issue_decision.ts'
import type { Effect, Policy, PolicyAnswer } from '../ports.ts'
import { describe, isRecord, isTexts, readApproval, undefinedDecision } from './answer.ts'
import { issuePolicy } from './issue.ts'

// The part of the SDK used here. Its own types name exports of its CommonJS file that the ESM entry keeps
// under `default`, and need the DOM library for WebAssembly.
interface SdkPolicy {
  minorVersion: number
  readonly entrypoints: Readonly<Record<string, number>>
  readonly mem: { readonly buffer: ArrayBuffer }
  readonly wasmInstance: { readonly exports: Readonly<Record<string, unknown>> }
  setData(data: object): void
  evaluate(input: ArrayBuffer | undefined, entrypoint: string): unknown
}
interface Sdk {
  loadPolicySync(module: object, memory: { initial: number; maximum: number }): SdkPolicy
}
const { default: opa } = sdk as unknown as { readonly default: Sdk }
declare const WebAssembly: { compile(bytes: Uint8Array): Promise<object> }

/** The rule that decides, as OPA names entry points. */
export const decisionEntrypoint = 'leasegate/authz/decision'

/** Bytes of one input; a larger one is denied. Bodies in it are bounded well below this by configuration. */
export const maxInputBytes = 1024 * 1024

const initialPages = 5
// 64 MiB: an evaluation that wants more traps, is denied, and the memory is given back.
const maximumPages = 1024

const effects: ReadonlySet<unknown> = new Set<Effect>(['allow', 'deny', 'hold', 'draft'])
const members: ReadonlySet<string> = new Set(['effect', 'reasons', 'approval'])
const encoder = new TextEncoder()

/** A compiled module and the documents under `data`; both stay as they are once loaded. */
export interface PolicyModule {
  readonly wasm: Uint8Array
  /** The policy with its rules marked shadow; never decides. Absent: no rule is marked. */
  readonly shadow?: Uint8Array
  /** A JSON object. */
  readonly data: unknown
}

/** One Wasm module with its data. Not re-entrant, and not needed to be: evaluation is synchronous. */
export interface Engine {
  readonly entrypoints: readonly string[]
  /** Builtins the module would call from its host. Leasegate offers none; calling one fails the evaluation. */
  readonly hostBuiltins: readonly string[]
  /**
   * OPA's result set: `[]` when undefined, else `[{ result }]`. Without an input, `input` is undefined.
   * Throws an `Error` on a trap, an abort, or an input too large; the next evaluation starts clean.
   */
  evaluate(entrypoint: string, input?: string): unknown
  /** Other documents under `data` from here on: for what-if questions, never for a policy that serves. */
  setData(data: Readonly<Record<string, unknown>>): void
}

/** Compiles and instantiates a module. Rejects when it is not an OPA module or its data does not fit. */
export async function openEngine({ wasm, data }: PolicyModule): Promise<Engine> {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    throw new Error('policy data is not an object')
  }
  const compiled = await WebAssembly.compile(wasm)
  let documents: object = data
  const instantiate = (): SdkPolicy => {
    const loaded = opa.loadPolicySync(compiled, { initial: initialPages, maximum: maximumPages })
    loaded.setData(documents)
    // ABI 1.2's one-shot `opa_eval` takes text that is not JSON for an undefined input, under which a policy
    // of exceptions allows. The calls of ABI 1.1 report it, at the same speed (8 µs, design §7's input).
    loaded.minorVersion = 1
    return loaded
  }
  const first = attempt(instantiate)
  let current: SdkPolicy | undefined = first
  return {
    entrypoints: Object.keys(first.entrypoints),
    hostBuiltins: hostBuiltins(first),
    evaluate(entrypoint, input) {
      const bytes = input === undefined ? undefined : encode(input)
      return attempt(() => {
        const loaded = current ?? instantiate()
        // Left unset by a throw: what a trap leaves behind in the memory is not trusted with another decision.
        current = undefined
        const results: unknown = loaded.evaluate(bytes, entrypoint)
        current = loaded
        return results
      })
    },
    setData(other) {
      documents = other
      const loaded = current
      current = undefined
      if (loaded === undefined) return
      attempt(() => loaded.setData(other))
      current = loaded
    },
  }
}

/** What an engine's decision rule answers. Total: whatever goes wrong is `deny` with its fault. */
export function ask(engine: Engine, input: string): PolicyAnswer {
  try {
    return readAnswer(engine.evaluate(decisionEntrypoint, input))
  } catch (thrown) {
    return failed(describe(thrown))
  }
}

/** A policy ready to decide. */
export interface LoadedPolicy extends Policy, Pick<Engine, 'hostBuiltins'> {
  /** The same module with the same data, asked about issuing leases. */
  readonly issue: IssuePolicy
}

/**
 * Loads the policy that decides. The digest is sha256 over the sha256 of the module, that of the shadow module
 * where there is one, and the data as JSON with sorted keys. Rejects when the module cannot be loaded or lacks `decisionEntrypoint`.
 */
export async function loadPolicy(module: PolicyModule): Promise<LoadedPolicy> {
  const engine = await openEngine(module)
  if (!engine.entrypoints.includes(decisionEntrypoint)) {
    throw new Error(`the policy has no entry point ${decisionEntrypoint}`)
  }
  const digest = policyDigest(module)
  return {
    digest,
    hostBuiltins: engine.hostBuiltins,
    evaluate: (input) => ask(engine, input),
    issue: issuePolicy(engine, digest),
  }
}

/** The name under which the audit record knows a policy: equal for equal modules with equal data. */
export function policyDigest({ wasm, shadow, data }: PolicyModule): string {
  const digest = createHash('sha256')
  for (const module of shadow === undefined ? [wasm] : [wasm, shadow]) {
    digest.update(createHash('sha256').update(module).digest())
  }
  return `sha256:${digest.update(canonicalJson(data)).digest('hex')}`
}

/**
 * Reads a result set of either engine, in order: undefined, shape, unknown members, effect, reasons, approval, which
 * `hold` and `draft` have and nothing else has. Anything not understood is `deny` with its fault.
 */
export function readAnswer(results: unknown): PolicyAnswer {
  const row: unknown = Array.isArray(results) ? results[0] : undefined
  if (!isRecord(row)) return failed(undefinedDecision)
  const decision = row.result
  if (!isRecord(decision)) return failed('the decision is not an object')
  const { effect, reasons, approval } = decision
  // An obligation we do not know of is one we would not meet.
  if (!Object.keys(decision).every((key) => members.has(key)))
    return failed('the decision has an unknown member')
  if (!isEffect(effect)) return failed('the decision has an unknown effect')
  if (!isTexts(reasons)) return failed('the reasons are not a list of strings')
  // Wasm lists a set in the order of its hash table.
  reasons.sort()
  if (effect === 'allow' || effect === 'deny') {
    return approval === undefined
      ? { effect, reasons }
      : failed(`the decision is ${effect} and has an approval`)
  }
  // Nobody could ever say yes to it.
  if (approval === undefined) return failed(`the decision is ${effect} and has no approval`)
  const terms = readApproval(approval)
  return typeof terms === 'string' ? failed(terms) : { effect, reasons, approval: terms }
}

function failed(fault: string): PolicyAnswer {
  return { effect: 'deny', reasons: ['policy_failed'], fault }
}

/** UTF-8 in a buffer of its own: the SDK takes a whole `ArrayBuffer` and nothing else as JSON text. */
function encode(input: string): ArrayBuffer {
  if (input.length > maxInputBytes) throw new Error('the input is too large')
  const bytes = encoder.encode(input)
  if (bytes.byteLength > maxInputBytes) throw new Error('the input is too large')
  // The SDK takes an empty input for none at all.
  if (bytes.byteLength === 0) throw new Error('the input is empty')
  const { buffer, byteLength } = bytes
  return buffer.byteLength === byteLength
    ? buffer
    : buffer.slice(bytes.byteOffset, bytes.byteOffset + byteLength)
}

/** Runs SDK code; what it throws (strings and bare objects among it) comes out as an `Error`. */
function attempt<T>(run: () => T): T {
  try {
    return run()
  } catch (thrown) {
    throw thrown instanceof Error ? thrown : new Error(describe(thrown))
  }
}

/** Names of the builtins that the module imports from its host (OPA Wasm ABI: `builtins`). */
function hostBuiltins({ wasmInstance, mem }: SdkPolicy): string[] {
  const { exports } = wasmInstance
  const list = exports.builtins as () => number
  const dump = exports.opa_json_dump as (address: number) => number
  const at = dump(list())
  const memory = new Uint8Array(mem.buffer)
  const names: unknown = JSON.parse(new TextDecoder().decode(memory.subarray(at, memory.indexOf(0, at))))
  return isRecord(names) ? Object.keys(names).sort() : []
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (!isRecord(value)) return JSON.stringify(value)
  const keys = Object.keys(value).sort()
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key])}`).join(',')}}`
}

function isEffect(value: unknown): value is Effect {
  return effects.has(value)
}
