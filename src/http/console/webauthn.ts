// The one file that speaks WebAuthn, with @simplewebauthn/server. In: a place, challenges made elsewhere, what a browser
// answered. Out: options for the browser; what an authenticator has shown, or nothing. Never: a passkey without user
// verification, or one of another origin.
import {
  type AuthenticationResponseJSON,
  generateAuthenticationOptions,
  generateRegistrationOptions,
  type RegistrationResponseJSON,
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
} from '@simplewebauthn/server'
import { isObject } from '../../lease/text.ts'
import type { Place } from './place.ts'

/** A passkey as it is kept. */
export interface Credential {
  /** Base64url, as the authenticator named it. */
  readonly id: string
  /** COSE key, base64url. */
  readonly publicKey: string
  /** Signatures that the authenticator has counted; 0 where it counts none. */
  readonly counter: number
  readonly transports: readonly string[]
}

/** Whether a challenge (base64url) is one that was made for this. */
export type KnowsChallenge = (challenge: string) => boolean

/** Ed25519, ES256, RS256: what authenticators have (COSE). */
const algorithms = [-8, -7, -257]

/** The relying party: the host of the console (WebAuthn §5.1.3, "rp.id"). */
function relyingParty({ url }: Place): string {
  return new URL(url).hostname
}

/** `PublicKeyCredentialCreationOptionsJSON`. `handle` stands for the person and says nothing about them. */
export function registrationOptions(
  place: Place,
  ask: {
    readonly challenge: Buffer
    readonly handle: Buffer
    readonly user: string
    readonly known: readonly Credential[]
  },
) {
  return generateRegistrationOptions({
    rpName: 'Leasegate',
    rpID: relyingParty(place),
    userName: ask.user,
    userDisplayName: ask.user,
    userID: Uint8Array.from(ask.handle),
    challenge: Uint8Array.from(ask.challenge),
    attestationType: 'none',
    supportedAlgorithmIDs: algorithms,
    excludeCredentials: ask.known.map(({ id, transports }) => ({ id, transports: [...transports] })),
    authenticatorSelection: { residentKey: 'preferred', userVerification: 'required' },
  })
}

/** `PublicKeyCredentialRequestOptionsJSON`. */
export function assertionOptions(
  place: Place,
  ask: { readonly challenge: Buffer; readonly known: readonly Credential[] },
) {
  return generateAuthenticationOptions({
    rpID: relyingParty(place),
    challenge: Uint8Array.from(ask.challenge),
    allowCredentials: ask.known.map(({ id, transports }) => ({ id, transports: [...transports] })),
    userVerification: 'required',
  })
}

/** The passkey that a browser has made; undefined: not for this. */
export async function readRegistration(
  place: Place,
  answer: unknown,
  knows: KnowsChallenge,
): Promise<Credential | undefined> {
  if (!isObject(answer)) return undefined
  try {
    const { verified, registrationInfo } = await verifyRegistrationResponse({
      // Whatever it is, the library looks at each member and throws.
      response: answer as Record<string, unknown> & RegistrationResponseJSON,
      expectedChallenge: knows,
      expectedOrigin: place.url,
      expectedRPID: relyingParty(place),
      supportedAlgorithmIDs: algorithms,
      requireUserVerification: true,
    })
    if (!verified) return undefined
    const { id, publicKey, counter, transports = [] } = registrationInfo.credential
    return {
      id,
      publicKey: Buffer.from(publicKey).toString('base64url'),
      counter,
      transports: transports.filter((each) => /^[a-z-]{1,20}$/.test(each)).slice(0, 8),
    }
  } catch {
    return undefined
  }
}

/** The counter of a passkey after it has signed; undefined: it has not signed this. */
export async function readAssertion(
  place: Place,
  answer: unknown,
  { id, publicKey, counter }: Credential,
  knows: KnowsChallenge,
): Promise<number | undefined> {
  if (!isObject(answer)) return undefined
  try {
    const { verified, authenticationInfo } = await verifyAuthenticationResponse({
      response: answer as Record<string, unknown> & AuthenticationResponseJSON,
      expectedChallenge: knows,
      expectedOrigin: place.url,
      expectedRPID: relyingParty(place),
      credential: { id, publicKey: Uint8Array.from(Buffer.from(publicKey, 'base64url')), counter },
      requireUserVerification: true,
    })
    return verified ? authenticationInfo.newCounter : undefined
  } catch {
    return undefined
  }
}
