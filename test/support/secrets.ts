// That what must stay secret stands in nothing that is kept or shown. Names what leaked, never the secret.
import { expect } from 'vitest'

/** Texts or secrets by what they are. */
type Named = Readonly<Record<string, string>>

/**
 * Fails when one of `texts` holds one of `secrets`: as it is, percent-encoded, or in base64 or base64url. Of a JWT
 * the payload and the signature count each by itself: a log that leaves the header out leaks it all the same.
 */
export function noSecretIn(texts: Named, secrets: Named): void {
  const leaks: string[] = []
  for (const [what, secret] of Object.entries(secrets)) {
    for (const needle of needlesOf(secret)) {
      if (needle.length < 8) throw new Error(`${what} is too short to be looked for`)
      for (const [where, text] of Object.entries(texts)) {
        if (text.includes(needle)) leaks.push(`${what} in ${where}`)
      }
    }
  }
  expect([...new Set(leaks)]).toEqual([])
}

function needlesOf(secret: string): string[] {
  const segments = secret.split('.')
  const parts = segments.length === 3 ? segments.slice(1) : [secret]
  return parts.flatMap((part) => [
    part,
    encodeURIComponent(part),
    ...(['base64', 'base64url'] as const).map((coding) =>
      Buffer.from(part).toString(coding).replace(/=+$/, ''),
    ),
  ])
}
