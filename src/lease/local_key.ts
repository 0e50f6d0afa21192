// In: the path of the broker's key file. Out: the ES256 key that signs now, made on the first start. For
// whoever signs once; a process that goes on follows the file with signing_keys.ts.
import { type CryptoKey, importPrivateKey, type PublicJwk } from './jose.ts'
import { KeyFileError, openKeyFile } from './key_file.ts'
import { type StoredKey, signerOf } from './key_set.ts'

/** A signing key of the broker. `privateKey` signs and cannot be exported. */
export interface LocalKey {
  readonly privateKey: CryptoKey
  readonly publicJwk: PublicJwk
  /** RFC 7638 thumbprint. */
  readonly kid: string
}

/** The key that signs at `now` (seconds since 1970). Throws `KeyFileError` as `openKeyFile` does. */
export async function openLocalKey(file: string, now = Date.now() / 1000): Promise<LocalKey> {
  const { keys } = await openKeyFile(file, now)
  return importLocalKey(signerOf(keys, now), file)
}

/** The key as it is used. Throws `KeyFileError` when its private member does not make a P-256 key. */
export async function importLocalKey(key: StoredKey, file: string): Promise<LocalKey> {
  const { kty, crv, x, y, d, kid } = key
  const privateKey = await importPrivateKey({ kty, crv, x, y, d }).catch(() => {
    throw new KeyFileError(`${file}: holds no P-256 private key in JWK form`)
  })
  return { privateKey, kid, publicJwk: { kty, crv, x, y, kid, alg: 'ES256', use: 'sig' } }
}
