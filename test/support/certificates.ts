// Certificates for tests: an authority, and whatever it or nobody vouches for. Files in one directory.
import { createHash, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generate } from 'selfsigned'

/** A certificate with its key, PEM. */
export interface Pair {
  readonly cert: string
  readonly key: string
  /** SHA-256 of the DER form, base64url: `x5t#S256`. */
  readonly thumbprint: string
}

export interface PairAsk {
  readonly name: string
  /** Who signs it; absent: itself. */
  readonly by?: Pair
  /** It may sign others. */
  readonly authority?: boolean
  readonly uri?: string
  /** Default: a year from now. */
  readonly until?: Date
}

type Extensions = NonNullable<NonNullable<Parameters<typeof generate>[1]>['extensions']>

/** Makes one: EC P-256, a DNS name in `subjectAltName`. */
export async function pairOf({ name, by, authority = false, uri, until }: PairAsk): Promise<Pair> {
  const uris = uri === undefined ? [] : [{ type: 6, value: uri } as const]
  const extensions: Extensions = authority
    ? [{ name: 'basicConstraints', cA: true, critical: true }]
    : [{ name: 'subjectAltName', altNames: [{ type: 2, value: name }, ...uris] }]
  const made = await generate([{ name: 'commonName', value: name }], {
    keyType: 'ec',
    algorithm: 'sha256',
    extensions,
    notBeforeDate: new Date(Date.now() - 86_400_000),
    notAfterDate: until ?? new Date(Date.now() + 365 * 86_400_000),
    ...(by !== undefined && { ca: { cert: by.cert, key: by.key } }),
  })
  const { raw } = new X509Certificate(made.cert)
  const thumbprint = createHash('sha256').update(raw).digest('base64url')
  return { cert: made.cert, key: made.private, thumbprint }
}

/** Writes `NAME.crt` and `NAME.key` and returns their paths, as a `tls` section names them. */
export function writePair(dir: string, name: string, { cert, key }: Pair): { cert: string; key: string } {
  const files = { cert: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) }
  writeFileSync(files.cert, cert)
  writeFileSync(files.key, key, { mode: 0o600 })
  return files
}
