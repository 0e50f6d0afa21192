// The one file that talks to the OpenID Connect provider of people: authorization code, PKCE, state and nonce, with
// openid-client. In: `console.sign_in`. Out: where to send somebody, and who came back. Never: a token or a claim in an
// error; what the library checks (issuer, audience, expiry, nonce, signature) is not checked again.
import * as client from 'openid-client'
import type { Config } from '../../config.ts'
import { at, isObject, isPlainText } from '../../lease/text.ts'
import type { SignedIn } from './sessions.ts'

type SignIn = NonNullable<Config['console']['signIn']>

/** One sign-in under way; the browser keeps it, sealed. */
export interface Attempt {
  readonly state: string
  readonly nonce: string
  readonly verifier: string
  /** Whether it has to be a fresh sign-in for a decision about high risk. */
  readonly stepUp: boolean
}

/** Why somebody is not signed in, in words for them. */
export class SignInFault {
  /** `provider`: it does not answer. */
  readonly kind: 'provider' | 'person'
  readonly text: string
  /** For the log: the error's name and code, never its content. */
  readonly cause: string

  constructor(kind: 'provider' | 'person', text: string, cause: string) {
    this.kind = kind
    this.text = text
    this.cause = cause
  }
}

const timeoutSeconds = 10
const maxGroups = 500

export class OpenIdProvider {
  readonly #signIn: SignIn
  #known: Promise<client.Configuration> | undefined

  constructor(signIn: SignIn) {
    this.#signIn = signIn
  }

  /** Where to send a browser, and what it has to bring back. */
  async begin(
    redirectUri: string,
    stepUp: boolean,
  ): Promise<{ url: string; attempt: Attempt } | SignInFault> {
    const { scopes } = this.#signIn
    const { acr, maxAgeSeconds } = this.#signIn.stepUp
    const attempt = {
      state: client.randomState(),
      nonce: client.randomNonce(),
      verifier: client.randomPKCECodeVerifier(),
      stepUp,
    }
    try {
      const url = client.buildAuthorizationUrl(await this.#configuration(), {
        redirect_uri: redirectUri,
        scope: [...new Set(['openid', ...scopes])].join(' '),
        state: attempt.state,
        nonce: attempt.nonce,
        code_challenge: await client.calculatePKCECodeChallenge(attempt.verifier),
        code_challenge_method: 'S256',
        ...(stepUp && { prompt: 'login', max_age: String(maxAgeSeconds) }),
        ...(stepUp && acr.length > 0 && { acr_values: acr.join(' ') }),
      })
      return { url: url.href, attempt }
    } catch (error) {
      return faultOf(error)
    }
  }

  /** Who came back to `url`. */
  async finish(url: URL, attempt: Attempt): Promise<SignedIn | SignInFault> {
    const { maxAgeSeconds, acr: wanted } = this.#signIn.stepUp
    try {
      const configuration = await this.#configuration()
      const tokens = await client.authorizationCodeGrant(configuration, url, {
        expectedState: attempt.state,
        expectedNonce: attempt.nonce,
        pkceCodeVerifier: attempt.verifier,
        idTokenExpected: true,
        ...(attempt.stepUp && { maxAge: maxAgeSeconds }),
      })
      const claims = tokens.claims()
      if (claims === undefined) return refused('the provider sent no ID token')
      const { acr } = claims
      const known = typeof acr === 'string' ? acr : undefined
      if (attempt.stepUp && wanted.length > 0 && !(known !== undefined && wanted.includes(known))) {
        return refused('the provider did not confirm you in the way that is asked for here')
      }
      const all = this.#isWhole(claims)
        ? claims
        : { ...(await client.fetchUserInfo(configuration, tokens.access_token, claims.sub)), ...claims }
      const person = this.#personOf(all)
      if (person instanceof SignInFault) return person
      const authTime = typeof claims.auth_time === 'number' ? claims.auth_time : 0
      return { person: { ...person, subject: claims.sub }, roles: [], authTime, acr: known }
    } catch (error) {
      return faultOf(error)
    }
  }

  /** Whether the ID token says it all; claims of scopes may be at the userinfo endpoint alone (Core §5.4). */
  #isWhole(claims: Readonly<Record<string, unknown>>): boolean {
    const { userClaim, groupsClaim } = this.#signIn
    return at(claims, userClaim) !== undefined && at(claims, groupsClaim) !== undefined
  }

  #personOf(claims: Readonly<Record<string, unknown>>) {
    const { issuer, userClaim, groupsClaim } = this.#signIn
    const user = at(claims, userClaim)
    if (!isPlainText(user) || user.startsWith('group:'))
      return refused('the provider sent no usable name for you')
    // Some providers write it as text.
    const isUnverified = [false, 'false'].some((value) => value === claims.email_verified)
    if (userClaim === 'email' && isUnverified)
      return refused('the provider has not verified your e-mail address')
    const given = at(claims, groupsClaim)
    const groups = (Array.isArray(given) ? given : [given]).filter((group) => isPlainText(group))
    if (groups.length > maxGroups) return refused(`the provider named more than ${maxGroups} groups for you`)
    return { user, issuer, groups }
  }

  /** Discovered once; what fails is tried again by whoever comes next. */
  #configuration(): Promise<client.Configuration> {
    this.#known ??= this.#discover().catch((error) => {
      this.#known = undefined
      throw error
    })
    return this.#known
  }

  async #discover(): Promise<client.Configuration> {
    const { issuer, clientId, clientSecret } = this.#signIn
    const isPlain = issuer.startsWith('http:')
    const found = await client.discovery(
      new URL(issuer),
      clientId,
      undefined,
      authenticationBy(clientSecret),
      {
        execute: [client.enableNonRepudiationChecks, ...(isPlain ? [client.allowInsecureRequests] : [])],
        timeout: timeoutSeconds,
      },
    )
    // The library takes other spellings of it (a slash more, one of many tenants). Under another name than the one that
    // leases know, the requester would be somebody else, and could approve.
    if (found.serverMetadata().issuer === issuer) return found
    throw Object.assign(new Error('the provider calls itself otherwise'), { code: 'INVALID_SERVER_ISSUER' })
  }
}

/** By what the provider takes; `client_secret_basic` where it does not say (Discovery §3). */
function authenticationBy(secret: string): client.ClientAuth {
  if (secret === '') return client.None()
  const basic = client.ClientSecretBasic(secret)
  const post = client.ClientSecretPost(secret)
  return (server, ...rest) => {
    const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic']
    return (methods.includes('client_secret_basic') ? basic : post)(server, ...rest)
  }
}

function refused(text: string): SignInFault {
  return new SignInFault('person', text, text)
}

/** An answer of the provider that says no is about the person; everything else is that it cannot be asked. */
function faultOf(error: unknown): SignInFault {
  const { name = '', code = '' } = isObject(error) ? (error as { name?: string; code?: string }) : {}
  const cause = [name, code].filter((part) => part !== '').join(' ')
  if (error instanceof client.AuthorizationResponseError) {
    // It came by way of the browser: whoever sits there could write anything into the record.
    const said = /^[a-z_]{1,40}$/.test(error.error) ? ` ${error.error}` : ''
    return new SignInFault('person', 'the provider did not let you in', `${cause}${said}`)
  }
  const isTransport = name === 'TypeError' || name === 'TimeoutError' || code === 'OAUTH_TIMEOUT'
  const isServer = /UNEXPECTED|RESPONSE_IS_NOT|INVALID_SERVER|HTTP_REQUEST/.test(code)
  return isTransport || isServer
    ? new SignInFault('provider', 'the sign-in provider does not answer', cause)
    : new SignInFault('person', 'this sign-in is not valid any more', cause)
}
