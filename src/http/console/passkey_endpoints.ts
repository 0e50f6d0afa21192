// `/passkeys` and `/actions/{id}/challenge`: passkeys of whoever is signed in. In: calls with a session. Out: options for
// the browser, the list. A new passkey needs a fresh sign-in: it is to outlive a stolen session, not to come from one.
import { isObject } from '../../lease/text.ts'
import { isRefusal, type Refusal, refuse } from '../../refusals.ts'
import type { Caller } from '../caller.ts'
import type { ControlAnswer, ControlCall, Endpoint } from '../control.ts'
import { orUnavailable } from '../store_answer.ts'
import { type ConfirmationParts, refuseStale } from './confirm.ts'
import type { SignInObserver } from './observed_sign_in.ts'

export interface PasskeyEndpointParts extends ConfirmationParts {
  readonly observer: SignInObserver
}

type OfPerson = (caller: Caller, call: ControlCall) => Promise<ControlAnswer | Refusal>

/** The endpoints; programs have no passkeys. */
export function passkeyEndpoints(parts: PasskeyEndpointParts): Endpoint[] {
  const { passkeys, console, clock, observer } = parts
  const endpoint = (
    method: Endpoint['method'],
    path: string,
    takes: Endpoint['takes'],
    serve: OfPerson,
  ): Endpoint => ({
    method,
    path,
    takes,
    access: ['approver'],
    errors: 'problem',
    serve: (call) => orUnavailable(ofPerson(call, serve)),
  })
  const fresh =
    (serve: OfPerson): OfPerson =>
    async (caller, call) =>
      refuseStale(caller, console, clock()) ?? serve(caller, call)
  return [
    endpoint('GET', '/passkeys', 'nothing', async ({ person }) => {
      const list = await passkeys.list(person)
      const shown = list.map(({ id, createdAt, usedAt }) => ({
        id,
        created_at: createdAt,
        used_at: usedAt === 0 ? null : usedAt,
      }))
      return { status: 200, body: { passkeys: shown } }
    }),
    endpoint(
      'POST',
      '/passkeys/options',
      'nothing',
      fresh(async ({ person }) => ({ status: 200, body: await passkeys.registration(person) })),
    ),
    endpoint(
      'POST',
      '/passkeys',
      'json',
      fresh(async ({ person }, { json, peer }) => {
        const made = await passkeys.register(person, json)
        if (isRefusal(made)) return made
        observer.passkeyChanged('added', person, peer)
        return { status: 201, body: made }
      }),
    ),
    endpoint('POST', '/passkeys/{id}/remove', 'nothing', async ({ person }, { params, peer }) => {
      const removed = await passkeys.remove(person, params.id ?? '')
      if (removed) observer.passkeyChanged('removed', person, peer)
      return { status: 204 }
    }),
    endpoint('POST', '/actions/{id}/challenge', 'json', async ({ person }, { params, json }) => {
      const { fingerprint } = isObject(json) ? json : {}
      if (typeof fingerprint !== 'string') {
        return refuse('malformed_request', { detail: 'send the fingerprint of the action' })
      }
      const options = await passkeys.challenge(person, { id: params.id ?? '', fingerprint })
      return isRefusal(options) ? options : { status: 200, body: options }
    }),
  ]
}

async function ofPerson(call: ControlCall, serve: OfPerson): Promise<ControlAnswer | Refusal> {
  if (call.caller?.by !== 'session') {
    return refuse('operator_not_allowed', { detail: 'passkeys are of people who are signed in' })
  }
  return serve(call.caller, call)
}
