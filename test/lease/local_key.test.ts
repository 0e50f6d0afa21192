import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { importPublicKey, signatureIsValid, signCompact } from '../../src/lease/jose.ts'
import { KeyFileError } from '../../src/lease/key_file.ts'
import { openLocalKey } from '../../src/lease/local_key.ts'
import { testKey } from '../support/tokens.ts'

const root = mkdtempSync(join(tmpdir(), 'leasegate-local-key-'))
afterAll(() => rmSync(root, { recursive: true }))

let dir: string
let file: string
let tests = 0
beforeEach(() => {
  dir = join(root, String(tests++), 'deep')
  file = join(dir, 'broker.jwk')
})

const modeOf = (path: string) => statSync(path).mode & 0o777

describe('the first start', () => {
  test('makes a key that only its owner can read, in a directory that only they can enter', async () => {
    await openLocalKey(file)
    expect([modeOf(file), modeOf(dir)]).toEqual([0o600, 0o700])
    expect(readdirSync(dir)).toEqual(['broker.jwk'])
  })

  test('makes one key, however many processes start at once', async () => {
    const made = await Promise.all(Array.from({ length: 8 }, () => openLocalKey(file)))
    expect(new Set(made.map(({ kid }) => kid)).size).toBe(1)
    expect(readdirSync(dir)).toEqual(['broker.jwk'])
  })
})

describe('a key', () => {
  test('is the same after a restart', async () => {
    const first = await openLocalKey(file)
    const again = await openLocalKey(file)
    expect([again.kid, again.publicJwk]).toEqual([first.kid, first.publicJwk])
  })

  test('signs what its public part proves', async () => {
    const { privateKey, publicJwk, kid } = await openLocalKey(file)
    const token = await signCompact({ typ: 'at+jwt', kid }, { a: 1 }, privateKey)
    expect(await signatureIsValid(token, await importPublicKey(publicJwk), 'ES256')).toBe(true)
  })

  test('never leaves the process: the handle gives nothing out, the public part has no private member', async () => {
    const { privateKey, publicJwk } = await openLocalKey(file)
    expect(privateKey.extractable).toBe(false)
    expect(Object.keys(publicJwk).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
    const { d } = JSON.parse(readFileSync(file, 'utf8')).keys[0]
    expect(d).toMatch(/^[\w-]{43}$/)
    expect(JSON.stringify(await openLocalKey(file))).not.toContain(d)
  })

  test('is named by its RFC 7638 thumbprint', async () => {
    expect((await openLocalKey(file)).kid).toMatch(/^[A-Za-z0-9_-]{43}$/)
  })
})

describe('a key file is refused', () => {
  test.each([0o640, 0o604, 0o620, 0o602, 0o666, 0o610])('with mode %o', async (mode) => {
    await openLocalKey(file)
    chmodSync(file, mode)
    await expect(openLocalKey(file)).rejects.toThrow(/chmod 600/)
  })

  const secret = 'c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I'
  const rsa = testKey('k', 'RS256').privateKey.export({ format: 'jwk' })
  const ec = testKey('k').privateKey.export({ format: 'jwk' })
  test.each([
    ['nothing', ''],
    ['no JSON', `${secret}{`],
    ['JSON that says things twice', JSON.stringify(ec).replace('{', `{"d":"${secret}",`)],
    ['a public key', JSON.stringify({ ...ec, d: undefined })],
    ['an RSA key', JSON.stringify(rsa)],
    ['a symmetric key', JSON.stringify({ kty: 'oct', k: secret })],
    ['a private part that is none', JSON.stringify({ ...ec, d: secret.slice(0, 5) })],
    ['far too much', JSON.stringify(ec) + ' '.repeat(20_000)],
  ])('with %s in it, without a word of what is in it', async (_name, content) => {
    await openLocalKey(file)
    writeFileSync(file, content)
    const error = await openLocalKey(file).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(KeyFileError)
    expect(String(error)).toBe(`KeyFileError: ${file}: holds no P-256 private key in JWK form`)
    expect(readFileSync(file, 'utf8')).toBe(content)
  })

  test('when it is a directory', async () => {
    await expect(openLocalKey(root)).rejects.toThrow(KeyFileError)
  })
})
