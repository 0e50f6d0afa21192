// The part of compose.ts that makes what people need on the control listener: parts in, their sessions and the endpoints
// they sign in with out. Decides nothing.
import type { Server } from 'node:http'
import { createSealer } from './approval/seal.ts'
import type { Parts } from './compose_parts.ts'
import { type Confirmation, createConfirmation } from './http/console/confirm.ts'
import { linkEndpoints } from './http/console/links.ts'
import { OpenIdProvider } from './http/console/openid.ts'
import { passkeyEndpoints } from './http/console/passkey_endpoints.ts'
import { Passkeys } from './http/console/passkeys.ts'
import { placeOf } from './http/console/place.ts'
import { Sessions } from './http/console/sessions.ts'
import { signInEndpoints } from './http/console/sign_in.ts'
import type { Endpoint } from './http/control.ts'
import { createSignInObserver } from './telemetry/people.ts'

/** What people add to the control listener. */
export interface ComposedConsole {
  /** Also asked whether somebody who listens for long is still signed in. */
  readonly people: Sessions
  /** Before those of pages in the list: their paths are more exact. */
  readonly endpoints: readonly Endpoint[]
  /** Asked before a yes is written. */
  readonly confirmation: Confirmation
}

/** `server`: the control listener, once there is one. */
export function composeConsole(
  { config, store, audit, metrics, log }: Parts,
  server: () => Server | undefined,
): ComposedConsole {
  const { console } = config
  const place = placeOf(console.url, server)
  const clock = Date.now
  // Asked for each time: a store that has lost it has lost what was used under it as well.
  const sealer = async () =>
    createSealer(Buffer.from(await store.secrets.shared('console')).toString('base64url'))
  const { records, replay } = store
  const sessions = new Sessions({ records, console, place, clock })
  const passkeys = new Passkeys({ records, replay, sealer, place, clock })
  const observer = createSignInObserver({ audit, metrics, log })
  const provider = console.signIn && new OpenIdProvider(console.signIn)
  const shared = { console, place, sessions, sealer, store, observer, clock }
  const hasPasskey = passkeys.has.bind(passkeys)
  return {
    people: sessions,
    endpoints: [
      ...signInEndpoints({ ...shared, provider, hasPasskey }),
      ...linkEndpoints(shared),
      ...passkeyEndpoints({ console, passkeys, observer, clock }),
    ],
    confirmation: createConfirmation({ console, passkeys, clock }),
  }
}
