// In: a compiled policy with its data and sources. Out: the bytes that the state store keeps under its
// digest, and back. Believes nothing it unpacks until the digest of module and data is the one asked for;
// the sources are for people and never compiled.
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { fileError } from './diagnostic.ts'
import { policyDigest } from './evaluate.ts'
import type { PolicySources, Tree } from './sources.ts'

/** Bytes of one set before compression. */
export const maxSetBytes = 32 * 1024 * 1024

/** A policy that needs no compiler. */
export interface CompiledPolicy extends PolicySources {
  readonly wasm: Uint8Array
}

// One line of JSON, then the module, then the shadow module.
interface Head {
  readonly format: 1
  readonly wasmBytes: number
  /** Absent: no rule is marked shadow. */
  readonly shadowBytes?: number
  readonly shadowRules?: readonly string[]
  readonly data: Tree
  readonly files: Readonly<Record<string, string>>
}
const lineFeed = 0x0a
const damaged = 'policy_set_damaged'

/** Packs a policy. Throws `PolicyError` when it is larger than `maxSetBytes`. */
export async function packSet(policy: CompiledPolicy): Promise<{ digest: string; packed: Uint8Array }> {
  const { wasm, shadow, shadowRules, data, files } = policy
  const head: Head = {
    format: 1,
    wasmBytes: wasm.byteLength,
    ...(shadow === undefined ? {} : { shadowBytes: shadow.byteLength }),
    ...(shadowRules === undefined ? {} : { shadowRules }),
    data,
    files,
  }
  const bytes = Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), wasm, shadow ?? Buffer.alloc(0)])
  if (bytes.byteLength > maxSetBytes) {
    throw fileError('', 'policy_too_large', `module, data and sources exceed ${maxSetBytes} bytes`)
  }
  return { digest: policyDigest(policy), packed: await promisify(gzip)(bytes) }
}

/** The policy under `digest`. Throws `PolicyError` when `packed` is damaged, or is anything else. */
export async function unpackSet(digest: string, packed: Uint8Array): Promise<CompiledPolicy> {
  try {
    const policy = await unpack(packed)
    if (policyDigest(policy) === digest) return policy
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message.split('\n', 1)[0] : 'it cannot be read'
    throw fileError('', damaged, `the stored policy ${digest} is damaged: ${why}`)
  }
  throw fileError('', damaged, `what is stored as the policy ${digest} is another one`)
}

async function unpack(packed: Uint8Array): Promise<CompiledPolicy> {
  const bytes = await promisify(gunzip)(packed, { maxOutputLength: maxSetBytes })
  const end = bytes.indexOf(lineFeed)
  const head = JSON.parse(bytes.toString('utf8', 0, end)) as Head
  const { format, wasmBytes, shadowBytes, shadowRules, data, files } = head
  if (format !== 1) throw new Error('it is of a format that this version does not know')
  // No digest covers the names; without them a policy would have rules in shadow that nobody is told of.
  if (shadowBytes === undefined ? shadowRules !== undefined : !isNames(shadowRules)) {
    throw new Error('it does not name its rules in shadow')
  }
  const wasm = bytes.subarray(end + 1, end + 1 + wasmBytes)
  const shadow = bytes.subarray(end + 1 + wasmBytes)
  return {
    wasm,
    ...(shadowBytes === undefined ? {} : { shadow }),
    ...(shadowRules === undefined ? {} : { shadowRules }),
    data,
    files,
  }
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string')
}
