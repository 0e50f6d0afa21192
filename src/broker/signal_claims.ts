// Claims that logout tokens and security event tokens have in common. Pure.
import { own } from '../lease/text.ts'

/** A NumericDate (RFC 7519 §2). */
export function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0
}

/** Whether `aud` is exactly this: the string, or an array of it alone, as some issuers write it. */
export function namesOnly(claims: Record<string, unknown>, audience: string): boolean {
  const aud = own(claims, 'aud')
  return Array.isArray(aud) ? aud.length === 1 && aud[0] === audience : aud === audience
}
