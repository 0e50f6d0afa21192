// `node bench/proofs.ts [--quick]`: what a proof of possession costs the authenticate step, against a bearer token
// that is found in the cache: the proof by itself, and with its `jti` used up in the embedded store, one after
// another and sixty-four at once. Prints a table; README.md of this directory says what bounds it.
import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { authenticate, type Credentials } from '../src/enforce/authenticate.ts'
import type { CleanRequest, Routed } from '../src/enforce/stages.ts'
import { createNonces } from '../src/lease/nonces.ts'
import { createProofVerifier } from '../src/lease/proof.ts'
import { createVerifier } from '../src/lease/verify.ts'
import { type Replay, type Store, Unavailable } from '../src/ports.ts'
import { isRefusal, refuse } from '../src/refusals.ts'
import { openEmbedded } from '../src/stores/embedded.ts'
import { type Json, testIssuer } from '../test/support/tokens.ts'
import { printTable, round } from './numbers.ts'

const { quick } = parseArgs({ options: { quick: { type: 'boolean', default: false } } }).values
const count = quick ? 500 : 5_000
const now = Math.floor(Date.now() / 1000)
const origin = 'https://gate.bench'
const path = '/crm/customers/9821'

/** The agent's key, and proofs for the one request of this benchmark. */
class Agent {
  readonly #jwk: Json
  readonly #key: KeyObject
  readonly thumbprint: string

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const { crv, kty, x, y } = publicKey.export({ format: 'jwk' })
    this.#jwk = { crv, kty, x, y }
    this.#key = privateKey
    this.thumbprint = createHash('sha256').update(JSON.stringify(this.#jwk)).digest('base64url')
  }

  proof(token: string, nonce: string): string {
    const ath = createHash('sha256').update(token).digest('base64url')
    const claims = { jti: randomUUID(), htm: 'GET', htu: `${origin}${path}`, iat: now, ath, nonce }
    const parts = [{ typ: 'dpop+jwt', alg: 'ES256', jwk: this.#jwk }, claims]
    const input = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
    const signature = sign('sha256', Buffer.from(input), { key: this.#key, dsaEncoding: 'ieee-p1363' })
    return `${input}.${signature.toString('base64url')}`
  }
}

const dir = mkdtempSync(join(tmpdir(), 'leasegate-bench-'))
const store: Store = await openEmbedded({ path: join(dir, 'state.db'), maxStalenessMs: 2_000 })
const nonces = createNonces(await store.secrets.shared('dpop-nonce'))
const issuer = testIssuer({ audience: origin, now })
const verifier = createVerifier({ issuers: [issuer.profile()], keys: await issuer.keys() })
const agent = new Agent()
const bearer = issuer.token()
const bound = issuer.token({ cnf: { jkt: agent.thumbprint } })

function credentials(replay: Replay): Credentials {
  const proofs = createProofVerifier({ replay, nonces, nonceRequired: true })
  return { verifier, proofs, audiences: new Map([[undefined, [origin]]]), publicScheme: 'https' }
}

function routed(authorization: string, proofs: readonly string[]): Routed {
  const request: CleanRequest = {
    method: 'GET',
    authority: 'gate.bench',
    path,
    statedApproval: undefined,
    waitSeconds: undefined,
    statedTask: undefined,
    statedSession: undefined,
    segments: [],
    hasEncodedSlash: false,
    queryText: undefined,
    query: [],
    headers: [],
    nominated: [],
    authorization,
    proofs,
    contentType: undefined,
    contentEncoding: undefined,
    contentLength: undefined,
    chunked: false,
    expectsContinue: false,
    provenance: 'untrusted',
    traceparent: undefined,
    maxForwards: undefined,
    offersWebSocket: false,
    peer: '127.0.0.1',
    certificate: undefined,
  }
  return { request, backend: undefined, mapped: refuse('operation_unmapped') }
}

/** Microseconds each, `parallel` at a time; every one of them has to pass. */
async function time(requests: readonly Routed[], by: Credentials, parallel: number): Promise<number> {
  const began = performance.now()
  for (let at = 0; at < requests.length; at += parallel) {
    const some = requests.slice(at, at + parallel).map((request) => authenticate(request, by, now))
    for (const answer of await Promise.all(some)) {
      if (isRefusal(answer)) throw new Unavailable(`the benchmark was refused: ${answer.facts.cause}`)
    }
  }
  return ((performance.now() - began) * 1000) / requests.length
}

const bearers = () => Array.from({ length: count }, () => routed(`Bearer ${bearer}`, []))
const proven = () =>
  Array.from({ length: count }, () => routed(`DPoP ${bound}`, [agent.proof(bound, nonces.current(now))]))
const unstored: Replay = { use: () => Promise.resolve(true) }

const rows: (readonly [string, number, number])[] = []
for (const [name, make, replay] of [
  ['bearer token, cached', bearers, unstored],
  ['proof, jti not stored', proven, unstored],
  ['proof, jti in the embedded store', proven, store.replay],
] as const) {
  const by = credentials(replay)
  await time(make().slice(0, count / 10), by, 1)
  rows.push([name, await time(make(), by, 1), await time(make(), by, 64)])
}
const [, alone, together] = rows[0]!
printTable(
  ['authenticate', 'µs alone', 'ratio', 'µs, 64 at once', 'ratio'],
  rows.map(([name, one, many]) => [
    name,
    round(one),
    round(one / alone),
    round(many),
    round(many / together),
  ]),
)
await store.close()
rmSync(dir, { recursive: true })
