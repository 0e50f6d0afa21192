// Bytes that wait for a human, sealed for the store: AES-256-GCM under a key that the store does not have, bound to
// a name, so that nobody who can write to the store can put one call in the place of another. In: the secret of
// `approvals.key_file`. Out: seal and open. Never: a key or a plain byte in an error.
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

export interface Sealer {
  /** Base64url of nonce, ciphertext and tag. */
  seal(name: string, bytes: Uint8Array): string
  /** Undefined: sealed with another key, under another name, or altered. */
  open(name: string, sealed: string): Uint8Array | undefined
}

const nonceBytes = 12
const tagBytes = 16

/** Seals under a key derived from `secret` (RFC 5869). */
export function createSealer(secret: string): Sealer {
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'leasegate approvals', 32))
  return {
    seal(name, bytes) {
      const nonce = randomBytes(nonceBytes)
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(name))
      return Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]).toString(
        'base64url',
      )
    },
    open(name, sealed) {
      const bytes = Buffer.from(sealed, 'base64url')
      if (bytes.length < nonceBytes + tagBytes) return undefined
      try {
        const cipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes))
          .setAAD(Buffer.from(name))
          .setAuthTag(bytes.subarray(-tagBytes))
        return Buffer.concat([cipher.update(bytes.subarray(nonceBytes, -tagBytes)), cipher.final()])
      } catch {
        return undefined
      }
    },
  }
}
