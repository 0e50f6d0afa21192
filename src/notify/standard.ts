// In: a notice and a secret. Out: a message as Standard Webhooks 1.0 has it, signed. Only importer of
// standardwebhooks. Never: the secret in an error.
import { Webhook } from 'standardwebhooks'
import type { Notice } from './notice.ts'

/** Type, time and data of the event, with the page to open; the same at every attempt. */
export function standardBody({ event, at, data }: Notice, url: string): string {
  return JSON.stringify({ type: event, timestamp: new Date(at * 1000).toISOString(), data: { ...data, url } })
}

/** The header fields of one attempt; `nowMs` is of the attempt, so that a receiver can refuse a replay. */
export type Sign = (id: string, body: string, nowMs: number) => Record<string, string>

/** Signs with `secret` (`whsec_…`): HMAC-SHA-256 over id, time and body. */
export function signer(secret: string): Sign {
  const webhook = new Webhook(secret)
  return (id, body, nowMs) => ({
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(nowMs / 1000)),
    'webhook-signature': webhook.sign(id, new Date(nowMs), body),
  })
}
