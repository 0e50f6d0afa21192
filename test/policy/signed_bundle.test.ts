import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { PolicyError } from '../../src/policy/diagnostic.ts'
import { loadPolicy } from '../../src/policy/evaluate.ts'
import { type BundleVerification, openSignedBundle } from '../../src/policy/signed_bundle.ts'
import { files, signedBundle, signingKey } from '../support/bundles.ts'
import { reading } from './support.ts'

const key = signingKey()
const ours: BundleVerification = { keys: [key.publicKey], scope: '' }

/** The one diagnostic with which a bundle is refused: its code and its message without the name. */
async function refusal(archive: Uint8Array, verification = ours): Promise<string> {
  try {
    await openSignedBundle('here', archive, verification)
  } catch (thrown) {
    if (!(thrown instanceof PolicyError)) throw thrown
    expect(thrown.diagnostics).toHaveLength(1)
    return thrown.message
  }
  return 'opened'
}

describe('a bundle that OPA built and signed', () => {
  const at = (name: string) => readFileSync(join(import.meta.dirname, 'bundles', name))
  const keys = [{ id: '2026-11', algorithm: 'ES256', pem: at('bundle-key.pem').toString() }]

  it('of Rego opens, with its tests and its data', async () => {
    const { sources, revision } = await openSignedBundle('here', at('signed_rego.tar.gz'), {
      keys,
      scope: '',
    })
    expect(revision).toBe('2026-11-22.1')
    expect(Object.keys(sources.files).toSorted()).toEqual([
      'src/rules/authz.rego',
      'src/rules/authz_test.rego',
    ])
    expect(sources.data).toMatchObject({
      limits: { backends: ['crm'], note: 'a <b> & é "c"', numbers: [1, -2.5, 1000, true, null] },
    })
    expect(sources.wasm).toBeUndefined()
  })

  it('of WebAssembly opens, and its module decides', async () => {
    const { sources } = await openSignedBundle('here', at('signed_wasm.tar.gz'), { keys, scope: '' })
    const policy = await loadPolicy({ wasm: sources.wasm!, data: sources.data })
    expect(policy.evaluate(JSON.stringify(reading)).effect).toBe('allow')
    expect(sources.files).toEqual({})
  })

  it('is refused under another key of the same name', async () => {
    expect(await refusal(at('signed_rego.tar.gz'))).toMatch(/^bundle_signature_invalid: here: .*signature/)
  })

  it('is refused with one byte of it changed', async () => {
    const tar = gunzipSync(at('signed_rego.tar.gz'))
    tar[tar.indexOf('not_in_the_bundle')] = 'N'.charCodeAt(0)
    expect(await refusal(gzipSync(tar), { keys, scope: '' })).toMatch(
      /^bundle_signature_invalid: here: src\/rules\/authz\.rego: digest mismatch/,
    )
  })
})

it('names in data that JavaScript has a meaning for are data', async () => {
  const data = '{ "__proto__": { "admin": true }, "constructor": 1 }'
  const { sources } = await openSignedBundle(
    'here',
    signedBundle({ ...files, 'data.json': data }, { key }),
    ours,
  )
  expect(Object.keys(sources.data).toSorted()).toEqual(['__proto__', 'constructor', 'limits'])
  expect(Object.getPrototypeOf(sources.data)).toBe(Object.prototype)
})

it('the toolchain ends with the signal', async () => {
  const signal = AbortSignal.abort()
  await expect(openSignedBundle('here', signedBundle(files, { key }), ours, signal)).rejects.toThrow('abort')
})
