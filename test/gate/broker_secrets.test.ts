// Nothing secret in what is kept or shown of a whole life of leases: every kind of token, assertion, proof, code and
// nonce goes through every endpoint of a broker and its gate, as it should and in the wrong place, and is then looked
// for in every byte of audit file, log, metrics and readiness, and in the answers to others.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  accessTokenType,
  assertionType,
  dpopProof,
  readCustomer,
  startTestBroker,
  type TestBroker,
} from '../support/broker.ts'
import { changeData } from '../support/broker_matrix.ts'
import { eventually } from '../support/gate.ts'
import { noSecretIn } from '../support/secrets.ts'
import { headerOf, type Json, testIssuer, testKey } from '../support/tokens.ts'

let broker: TestBroker
const key = testKey('holder')
beforeAll(async () => {
  broker = await startTestBroker({ agents: [{ clientId: 'patient', file: { profile: 'patient' } }] })
  const approval = { stages: ['execute'], approvers: ['group:crm-owners'], expires_in: 600 }
  await changeData(broker, 'profiles.json', ({ support, ...others }) => ({
    ...others,
    support,
    patient: { ...(support as Json), approval },
  }))
})
afterAll(() => broker.close())

const secrets: Record<string, string> = {}
/** Remembers a secret; the names of several of a kind are counted. */
function secret(kind: string, value: unknown): string {
  expect(value, kind).toEqual(expect.any(String))
  secrets[`${kind} ${Object.keys(secrets).length}`] = String(value)
  return String(value)
}

const proof = (method: string, url: string, nonce: string, token?: string) =>
  secret('proof', dpopProof(key, { method, url, nonce, ...(token !== undefined && { token }) }))
const assertion = (clientId?: string) => secret('client assertion', broker.assertion(clientId))
const client = (clientId?: string) => ({
  client_assertion_type: assertionType,
  client_assertion: assertion(clientId),
})

/** A form with every secret in it remembered. */
function form(changes: Readonly<Record<string, string | undefined>> = {}, clientId?: string) {
  const made = broker.exchangeForm(changes, clientId)
  secret('subject token', made.get('subject_token'))
  secret('client assertion', made.get('client_assertion'))
  return made
}

async function nonceOf(headers: Headers): Promise<string> {
  return secret('nonce', headers.get('dpop-nonce'))
}

test('no secret of a whole life stands in anything that is kept or shown', async () => {
  const tokenUrl = `${broker.brokerUrl}/token`
  const write = {
    ...{ stage: 'execute', completion_mode: 'deferred' },
    authorization_details: JSON.stringify([{ ...readCustomer, actions: ['update'] }]),
  }
  const answers: string[] = []
  const post = async (path: string, body: URLSearchParams | string, headers: Record<string, string> = {}) => {
    const answer = await broker.post(path, body, headers)
    if (answer.status >= 400) answers.push(JSON.stringify({ ...answer.body, deferral_code: undefined }))
    return answer
  }

  // A bearer lease and a bound one, renewed, called with, looked at, ended.
  const bearer = secret('lease token', (await post('/token', form())).body.access_token)
  const first = await post('/token', form(), {
    dpop: proof('POST', tokenUrl, secret('nonce', 'not-a-nonce-of-ours')),
  })
  expect(first.body.error).toBe('use_dpop_nonce')
  const nonce = await nonceOf(first.headers)
  const given = await post('/token', form(), { dpop: proof('POST', tokenUrl, nonce) })
  const bound = secret('lease token', given.body.access_token)
  const renewal = {
    subject_token: bound,
    subject_token_type: accessTokenType,
    task: undefined,
    purpose: undefined,
  }
  const renewed = await post('/token', form(renewal), { dpop: proof('POST', tokenUrl, nonce) })
  secret('lease token', renewed.body.access_token)
  const url = `${broker.gateUrl}/crm/customers/9821`
  for (const headers of [
    { authorization: `Bearer ${bearer}` },
    { authorization: `DPoP ${bound}`, dpop: proof('GET', url, nonce, bound) },
    { authorization: `Bearer ${bound}` },
    { authorization: `DPoP ${bound}`, dpop: proof('GET', `${url}/x`, nonce, bound) },
    { authorization: `Bearer ${assertion()}` },
    { authorization: `Bearer ${secret('ID token', broker.idToken())}` },
  ]) {
    const response = await fetch(url, { headers })
    if (response.status >= 400)
      answers.push(`${response.headers.get('www-authenticate')} ${await response.text()}`)
  }

  // A request that waits, with a code that is polled with, stolen, and sent to the wrong place.
  const waiting = await post('/token', form(write, 'patient'))
  const deferral_code = secret('deferral code', waiting.body.deferral_code)
  const grant_type = 'urn:ietf:params:oauth:grant-type:deferred'
  for (const clientId of ['patient', 'support-triage']) {
    await post('/token', new URLSearchParams({ grant_type, deferral_code, ...client(clientId) }))
  }

  // Everything where it does not belong: in names, purposes, paths, queries, other parameters, unread bodies.
  for (const stray of [bearer, secret('ID token', broker.idToken()), assertion(), deferral_code]) {
    for (const name of [
      'purpose',
      'task',
      'session',
      'instance',
      'scope',
      'stage',
      'resource',
      'authorization_details',
      'actor_token',
      'grant_type',
    ]) {
      await post('/token', form({ [name]: stray }))
    }
    const details = JSON.stringify([{ ...readCustomer, identifier: `crm:customer/${stray}` }])
    await post('/token', form({ authorization_details: details }))
    await post('/token', new URLSearchParams({ client_id: stray, client_secret: stray, assertion: stray }))
    await post('/token', JSON.stringify({ subject_token: stray }), { 'content-type': 'application/json' })
    await post('/token', `token=${stray}&token=${stray}`)
    await post('/introspect', new URLSearchParams({ token: stray, ...client() }))
    await post('/backchannel_logout', new URLSearchParams({ logout_token: stray }))
    await post('/ssf/events', stray, { 'content-type': 'application/secevent+jwt' })
    await post('/revoke', new URLSearchParams({ token: stray, token_type_hint: stray }))
    await fetch(`${broker.brokerUrl}/leases/${stray.slice(0, 150)}?token=${stray}`)
    await fetch(`${tokenUrl}?subject_token=${stray}`, { headers: { authorization: `Bearer ${stray}` } })
  }

  // An event of the provider, and the ends of tokens and leases.
  const idp = testIssuer({ issuer: 'https://login.example' })
  const logout_token = secret(
    'logout token',
    idp.raw({ ...headerOf(idp.key), typ: 'logout+jwt' }, idp.claims()),
  )
  await post('/backchannel_logout', new URLSearchParams({ logout_token }))
  await post('/revoke', new URLSearchParams({ token: bearer, ...client() }))
  const completed = await fetch(`${broker.brokerUrl}/leases/${given.body.lease_id}/complete`, {
    method: 'POST',
    headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
    body: JSON.stringify({ reason: bearer.slice(0, 200) }),
  })
  await completed.text()

  secret('operator token', broker.operatorToken())
  const { keys } = JSON.parse(readFileSync(broker.config.broker.keyFile, 'utf8')) as { keys: { d: string }[] }
  for (const { d } of keys) secret('signing key', d)
  for (const [name, { privateKey }] of broker.keys) {
    secret(`key of ${name}`, privateKey.export({ format: 'jwk' }).d)
  }
  await eventually(() => broker.auditText().includes('"endpoint":"revoke"'), 'the last records')
  noSecretIn(
    {
      'the audit file': broker.auditText(),
      'the log': broker.logText(),
      'the metrics': await broker.metrics(),
      'the readiness': JSON.stringify(await broker.readiness()),
      'the answers': answers.join('\n'),
    },
    secrets,
  )
})
