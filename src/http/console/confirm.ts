// What a yes takes beside the right to say it: a fresh sign-in, a passkey. In: who says it, to which action. Out: what
// is still missing, or what has shown that it was them. ASK HERE before a yes is written. Never: a weaker way because
// the stronger one is not there.
import type { Action, Yes } from '../../approval/action.ts'
import type { Config } from '../../config.ts'
import { isRefusal, type Refusal, refuse } from '../../refusals.ts'
import type { Caller } from '../caller.ts'
import type { Passkeys } from './passkeys.ts'

export interface Confirmation {
  /** What this caller would have to do first: `you` of an action. */
  needs(caller: Caller, risk: string): { readonly stepUp: boolean; readonly passkey: boolean }
  /**
   * What has shown that a yes of this caller is theirs. Refuses with `reauthentication_required` where the sign-in is
   * not fresh or not strong enough (RFC 9470), with `confirmation_required` where a passkey is needed, or given and not
   * good. Uses the assertion up. Throws `Unavailable`.
   */
  confirm(
    caller: Caller,
    action: Pick<Action, 'id' | 'fingerprint'> & { readonly what: Pick<Action['what'], 'risk'> },
    assertion: unknown,
  ): Promise<Yes['shownBy'] | Refusal>
}

export interface ConfirmationParts {
  readonly console: Config['console']
  readonly passkeys: Passkeys
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

/** The rules of a configuration. */
export function createConfirmation({ console, passkeys, clock }: ConfirmationParts): Confirmation {
  const needs: Confirmation['needs'] = (caller, risk) => ({
    stepUp: isHigh(risk) && refuseStale(caller, console, clock()) !== undefined,
    passkey: console.passkeys === 'always' || (console.passkeys === 'high' && isHigh(risk)),
  })
  return {
    needs,
    async confirm(caller, { id, fingerprint, what: { risk } }, assertion) {
      const stale = isHigh(risk) ? refuseStale(caller, console, clock()) : undefined
      if (stale !== undefined) return stale
      if (assertion !== undefined && caller.by === 'session') {
        const refusal = await passkeys.confirm(caller.person, { id, fingerprint }, assertion)
        return isRefusal(refusal) ? refusal : 'passkey'
      }
      if (needs(caller, risk).passkey || assertion !== undefined) {
        return refuse('confirmation_required', { detail: 'a passkey of a person has to sign this action' })
      }
      return caller.by
    },
  }
}

/** What is not one of the lower risks is high. */
function isHigh(risk: string): boolean {
  return risk !== 'low' && risk !== 'medium'
}

/**
 * `reauthentication_required` unless somebody has shown the provider lately, and well enough, who they are. Where nobody
 * signs in at a provider there is nothing to ask for; a program has not shown anything to a provider that there is.
 */
export function refuseStale(
  { session }: Caller,
  { signIn }: Config['console'],
  nowMs: number,
): Refusal | undefined {
  if (signIn === undefined) return undefined
  const { acr, maxAgeSeconds } = signIn.stepUp
  const isFresh = session !== undefined && nowMs / 1000 - session.authTime <= maxAgeSeconds
  const isStrong = acr.length === 0 || (session?.acr !== undefined && acr.includes(session.acr))
  if (isFresh && isStrong) return undefined
  const wanted = acr.length === 0 ? {} : { acr_values: acr.join(' ') }
  return refuse('reauthentication_required', {
    detail: 'sign in again to do this',
    answer: { ...wanted, max_age: maxAgeSeconds, sign_in: '/console/sign-in?step_up=1' },
  })
}
