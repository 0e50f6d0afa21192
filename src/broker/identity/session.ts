// A login session of an identity provider under the name that leases know it by. Pure.
import { hash } from 'node:crypto'

/** `session` of every lease that the session `sid` of `issuer` led to; two issuers never share one. */
export function sessionOf(issuer: string, sid: string): string {
  return `ses_${hash('sha256', JSON.stringify([issuer, sid]), 'base64url')}`
}
