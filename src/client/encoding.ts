// base64url and digests over WebCrypto; nothing of Node. Never keeps what it is given.

const utf8 = new TextEncoder()

/** base64url without padding (RFC 7515 §2). */
export function base64url(bytes: Uint8Array | string): string {
  const data = typeof bytes === 'string' ? utf8.encode(bytes) : bytes
  let binary = ''
  for (const byte of data) binary += String.fromCharCode(byte)
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** SHA-256 of a text as base64url. */
export async function sha256(text: string): Promise<string> {
  return base64url(new Uint8Array(await crypto.subtle.digest('SHA-256', utf8.encode(text))))
}

/** A key of WebCrypto. */
export type Key = Awaited<ReturnType<typeof crypto.subtle.importKey>>

/** A compact JWS (RFC 7515 §7.1) under ES256. */
export async function signJwt(header: object, claims: object, key: Key): Promise<string> {
  const input = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(claims))}`
  const algorithm = { name: 'ECDSA', hash: 'SHA-256' }
  const signature = await crypto.subtle.sign(algorithm, key, utf8.encode(input))
  return `${input}.${base64url(new Uint8Array(signature))}`
}

/** At least 128 random bits, for `jti`. */
export function randomId(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(16)))
}

/** Seconds since 1970. */
export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000)
}
