// The Rego toolchain in this process, for tests that ask it many things: starting it takes half a second.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'
import type { Diagnostic } from '../../src/policy/diagnostic.ts'
import type { BundleVerification } from '../../src/policy/signed_bundle.ts'
import { packageRoot } from '../../src/version.ts'

/** What regoc answers to the operation `bundle`. */
export interface BundleReply {
  readonly ok: boolean
  readonly errors: readonly Diagnostic[]
  readonly bundle?: { readonly files: object; readonly data: object; readonly revision: string }
}

// Made by Go's wasm_exec.js and by regoc itself.
declare const Go: new () => { readonly importObject: object; run(instance: object): Promise<void> }
declare const WebAssembly: { instantiate(bytes: Uint8Array, imports: object): Promise<{ instance: object }> }
declare const regoc: (request: string) => Promise<string>

/** Starts it; it ends with the process. */
export async function startRegoc(): Promise<
  (archive: Uint8Array, verification: BundleVerification) => Promise<BundleReply>
> {
  const dir = join(packageRoot, 'regoc')
  await import(join(dir, 'wasm_exec.js'))
  const go = new Go()
  const packed = readFileSync(join(dir, 'regoc.wasm.br'))
  const { instance } = await WebAssembly.instantiate(brotliDecompressSync(packed), go.importObject)
  void go.run(instance)
  return async (archive, { keys, scope }) => {
    const known = Object.fromEntries(keys.map(({ id, algorithm, pem }) => [id, { key: pem, algorithm }]))
    const bundle = { archive: Buffer.from(archive).toString('base64'), keys: known, scope }
    return JSON.parse(await regoc(JSON.stringify({ op: 'bundle', bundle }))) as BundleReply
  }
}
