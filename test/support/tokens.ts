// An issuer for tests: real keys, real signatures, and any token one could wish for, malformed ones too.
// Signs with node:crypto, so that what checks the tokens is not what made them.
import { constants, createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { PublicJwk } from '../../src/lease/jose.ts'
import { type Keys, openKeys } from '../../src/lease/keys.ts'
import type { IssuerProfile } from '../../src/lease/profile.ts'

export type Json = Record<string, unknown>

export type TestAlg = 'ES256' | 'ES384' | 'RS256' | 'PS256' | 'EdDSA' | 'HS256'

/** A key pair with its JWK as an issuer publishes it. */
export interface TestKey {
  readonly kid: string
  readonly alg: TestAlg
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly jwk: Json
}

export interface TestIssuer {
  readonly issuer: string
  readonly audience: string
  /** The key that signs unless told otherwise. */
  readonly key: TestKey
  /** What the issuer publishes. */
  readonly jwks: { keys: Json[] }
  /** The issuer as the gate is configured for it. */
  profile(overrides?: Partial<IssuerProfile>): IssuerProfile
  /** Keys of this issuer, in memory. */
  keys(): Promise<Keys>
  /** Claims of a valid token; `undefined` in an override removes the claim. */
  claims(overrides?: Json): Json
  /** A signed token, valid but for the overrides. */
  token(overrides?: Json, header?: Json): string
  /** Signs any header and payload, objects or text exactly as given. */
  raw(header: Json | string, payload: Json | string, key?: TestKey): string
}

export interface TestIssuerOptions {
  readonly issuer?: string
  readonly audience?: string
  readonly kid?: string
  readonly alg?: TestAlg
  /** Seconds since 1970; default: now. */
  readonly now?: number
}

/** An issuer with one key. Its tokens allow reading `crm:customer/9821` for five minutes. */
export function testIssuer(options: TestIssuerOptions = {}): TestIssuer {
  const { issuer = 'https://broker.example', audience = 'https://gate.example' } = options
  const key = testKey(options.kid ?? 'test-1', options.alg ?? 'ES256')
  const claims = (overrides: Json = {}) => {
    const now = options.now ?? Math.floor(Date.now() / 1000)
    return { ...validClaims(issuer, audience, now), ...overrides }
  }
  const raw = (header: Json | string, payload: Json | string, by = key) => signed(header, payload, by)
  return {
    issuer,
    audience,
    key,
    jwks: { keys: [key.jwk] },
    profile: (overrides) => ({ ...defaultProfile(issuer, audience, key.alg), ...overrides }),
    keys: () =>
      openKeys([{ issuer, jwks: { local: true } }], { local: () => [key.jwk as unknown as PublicJwk] }),
    claims,
    token: (overrides, header) => raw({ ...headerOf(key), ...header }, claims(overrides)),
    raw,
  }
}

/** The header of a valid token under a key. */
export function headerOf(key: TestKey): Json {
  return { typ: 'at+jwt', alg: key.alg, kid: key.kid }
}

/** A fresh key pair. */
export function testKey(kid: string, alg: TestAlg = 'ES256'): TestKey {
  const { privateKey, publicKey } = keyPair(alg)
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' }
  return { kid, alg, privateKey, publicKey, jwk }
}

function keyPair(alg: TestAlg) {
  if (alg === 'EdDSA') return generateKeyPairSync('ed25519')
  if (alg === 'RS256' || alg === 'PS256') return generateKeyPairSync('rsa', { modulusLength: 2048 })
  return generateKeyPairSync('ec', { namedCurve: alg === 'ES384' ? 'P-384' : 'P-256' })
}

/** base64url of text or of the JSON of an object. */
export function encode(part: Json | string): string {
  return Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')
}

function signed(header: Json | string, payload: Json | string, key: TestKey): string {
  const input = `${encode(header)}.${encode(payload)}`
  return `${input}.${signature(input, key).toString('base64url')}`
}

function signature(input: string, { alg, privateKey, publicKey }: TestKey): Buffer {
  const data = Buffer.from(input)
  switch (alg) {
    case 'HS256':
      // The classic confusion: the public key, which everybody has, as the secret of a MAC.
      return createHmac('sha256', publicKey.export({ type: 'spki', format: 'pem' }))
        .update(data)
        .digest()
    case 'EdDSA':
      return sign(null, data, privateKey)
    case 'RS256':
      return sign('sha256', data, privateKey)
    case 'PS256':
      return sign('sha256', data, {
        key: privateKey,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      })
    default:
      return sign(alg === 'ES384' ? 'sha384' : 'sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' })
  }
}

export function defaultProfile(issuer: string, audience: string, alg: string): IssuerProfile {
  return {
    issuer,
    audience,
    algorithms: [alg],
    clockTolerance: 5,
    maxTokenSeconds: 300,
    allowAnyAction: false,
    workflows: ['workflow:'],
    maxActDepth: 2,
    statusLists: [],
    claims: { user: 'sub', agent: 'act.sub', lease: 'lease', details: 'authorization_details' },
  }
}

function validClaims(issuer: string, audience: string, now: number): Json {
  return {
    iss: issuer,
    aud: audience,
    client_id: 'support-triage',
    sub: 'alice@example.com',
    act: { iss: issuer, sub: 'agent:support-triage', sub_profile: 'ai_agent' },
    iat: now,
    nbf: now,
    exp: now + 300,
    jti: 'ltk_01TEST',
    scope: 'crm:read',
    authorization_details: [
      {
        type: 'lease',
        actions: ['read'],
        identifier: 'crm:customer/9821',
        sensitivity: 'confidential',
        constraints: { max_calls: 20 },
      },
    ],
    lease: {
      id: 'lse_01TEST',
      stage: 'observe',
      max_exp: now + 3600,
      task: { system: 'jira', id: 'SUP-4711', purpose: "answer the customer's billing question" },
      session: 'ses_01TEST',
      agent: { version: '3.2.1', env: 'prod', instance: 'i-7c', policy_profile: 'support' },
    },
  }
}
