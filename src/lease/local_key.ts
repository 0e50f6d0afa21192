// In: the path of the broker's key file. Out: the ES256 key that it signs with, made on the first start.
// Never prints key material, never overwrites a key, never uses a file that others can read.
import { randomBytes } from 'node:crypto'
import { link, mkdir, open, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { parseStrictJson } from '../strict_json.ts'
import {
  type CryptoKey,
  generatePrivateJwk,
  importPrivateKey,
  type PrivateJwk,
  type PublicJwk,
  thumbprint,
} from './jose.ts'
import { isObject } from './text.ts'

/** The broker's signing key. `privateKey` signs and cannot be exported. */
export interface LocalKey {
  readonly privateKey: CryptoKey
  readonly publicJwk: PublicJwk
  /** RFC 7638 thumbprint. */
  readonly kid: string
}

/** The key file cannot be used; the message names the file and what to do, never its content. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError'
}

const maxFileBytes = 4096

/**
 * Loads the key, or makes it: file 0600, missing directories 0700. Several processes may do so at once and
 * all get the same key. Throws `KeyFileError` for a file that group or others may read or write, or that
 * holds no P-256 key.
 */
export async function openLocalKey(file: string): Promise<LocalKey> {
  try {
    const text = (await readKeyFile(file)) ?? (await createKeyFile(file))
    return await importKey(text, file)
  } catch (error) {
    if (error instanceof KeyFileError) throw error
    // The code alone: `message` of a file system error is harmless, that of another error may not be.
    const code = isObject(error) && typeof error.code === 'string' ? error.code : 'unreadable'
    throw new KeyFileError(`${file}: cannot be used as a key file (${code})`)
  }
}

/** Text of the file; undefined when there is none yet. */
async function readKeyFile(file: string): Promise<string | undefined> {
  let handle: Awaited<ReturnType<typeof open>>
  try {
    handle = await open(file, 'r')
  } catch (error) {
    if (isObject(error) && error.code === 'ENOENT') return undefined
    throw error
  }
  try {
    // On the open file, so that what is checked is what is read.
    const { mode, size } = await handle.stat()
    if ((mode & 0o077) !== 0) {
      throw new KeyFileError(`${file}: others than its owner may use it; run: chmod 600 '${file}'`)
    }
    if (size > maxFileBytes) throw new KeyFileError(`${file}: holds no P-256 private key in JWK form`)
    return await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
}

/** Writes a new key beside the file and links it into place whole. Returns the text that now stands there. */
async function createKeyFile(file: string): Promise<string> {
  const text = `${JSON.stringify(await generatePrivateJwk())}\n`
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const draft = `${file}.${randomBytes(6).toString('hex')}.tmp`
  const handle = await open(draft, 'wx', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
    await handle.close()
    // Not rename: that would replace the key of a process which was first.
    await link(draft, file)
    return text
  } catch (error) {
    if (!isObject(error) || error.code !== 'EEXIST') throw error
    return (await readKeyFile(file)) ?? Promise.reject(error)
  } finally {
    await handle.close()
    await unlink(draft)
  }
}

async function importKey(text: string, file: string): Promise<LocalKey> {
  const jwk = readPrivateJwk(text)
  const privateKey = jwk && (await importPrivateKey(jwk).catch(() => undefined))
  if (jwk === undefined || privateKey === undefined) {
    throw new KeyFileError(`${file}: holds no P-256 private key in JWK form`)
  }
  const kid = await thumbprint(jwk)
  const { kty, crv, x, y } = jwk
  return { privateKey, kid, publicJwk: { kty, crv, x, y, kid, alg: 'ES256', use: 'sig' } }
}

function readPrivateJwk(text: string): PrivateJwk | undefined {
  const json = parseStrictJson(text, { maxBytes: maxFileBytes })
  if (!json.ok || !isObject(json.value)) return undefined
  const { kty, crv, x, y, d } = json.value
  if (kty !== 'EC' || crv !== 'P-256') return undefined
  if (typeof x !== 'string' || typeof y !== 'string' || typeof d !== 'string') return undefined
  return { kty, crv, x, y, d }
}
