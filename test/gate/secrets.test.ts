// Nothing secret in what is kept or shown: every token, key, assertion, proof and password that this gate and
// its broker meet is looked for in the audit file, the log, the metrics and the answers.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { issueLease } from '../../src/lease/issue.ts'
import { openLocalKey } from '../../src/lease/local_key.ts'
import { rotateKeys } from '../../src/lease/signing_keys.ts'
import { isRefusal } from '../../src/refusals.ts'
import {
  backendCredential,
  eventually,
  message,
  publicOrigin,
  startTestGate,
  type TestGate,
} from '../support/gate.ts'
import { noSecretIn } from '../support/secrets.ts'
import { testIssuer } from '../support/tokens.ts'

const issuer = 'http://broker.example'
let gate: TestGate
beforeAll(async () => {
  const broker = { issuer }
  gate = await startTestGate({ config: { issuers: [{ issuer, jwks: { local: true } }], broker } })
})
afterAll(() => gate.close())

async function issued(): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  const lease = await issueLease(
    {
      user: 'alice@example.com',
      agent: { id: 'agent:support-triage', version: '3.2.1', env: 'prod', profile: 'support' },
      task: { system: 'jira', id: 'SUP-4711', purpose: 'billing question' },
      details: [
        {
          type: 'lease',
          actions: ['read', 'update'],
          identifier: 'crm:customer/9821',
          sensitivity: 'confidential',
        },
      ],
      stage: 'execute',
    },
    { key: await openLocalKey(gate.config.broker.keyFile), issuer, audience: publicOrigin, now },
  )
  if (isRefusal(lease)) throw new Error(lease.facts.cause)
  return lease.token
}

/** The private members of every key in the file. */
function privateKeys(): Record<string, string> {
  const { keys } = JSON.parse(readFileSync(gate.config.broker.keyFile, 'utf8')) as { keys: { d: string }[] }
  return Object.fromEntries(keys.map(({ d }, nth) => [`signing key ${nth}`, d]))
}

const post = (path: string, headers: Record<string, string>, body: string) =>
  fetch(`http://127.0.0.1:${gate.running.control.port}${path}`, { method: 'POST', headers, body })

test('no secret stands in the audit file, the log, the metrics or an answer', async () => {
  const token = await issued()
  const another = await issued()
  const foreign = testIssuer().token()
  const forged = `${token.slice(0, -10)}AAAAAAAAAA`
  const assertion = testIssuer({ issuer: 'support-triage' }).token({ aud: issuer })
  const proof = testIssuer().token({ htm: 'GET' }, { typ: 'dpop+jwt' })
  const secrets = {
    ...privateKeys(),
    'lease token': token,
    'lease token in the query': another,
    'token of another issuer': foreign,
    'forged token': forged,
    'client assertion': assertion,
    proof,
    password: 'hunter2-correct-horse',
    cookie: 'session-7f3a9c1e22',
    'operator token': gate.operatorToken(),
    'guess at the operator token': 'guess-guess-guess-guess',
    'credential of the backend': backendCredential,
  }
  const json = 'Content-Type: application/json'
  const messages = [
    message({ token }),
    message({ token, method: 'PATCH', fields: [json], body: JSON.stringify({ password: secrets.password }) }),
    message({ token, target: `/crm/customers/9821?access_token=${another}` }),
    message({ token, target: `/crm/customers/9821?note=${secrets.password}` }),
    message({ token, fields: [`Authorization: Bearer ${another}`] }),
    message({ token, fields: [`DPoP: ${proof}`, `Cookie: sid=${secrets.cookie}`] }),
    message({ token, fields: [`Proxy-Authorization: Bearer ${another}`] }),
    message({ token, fields: [`Lease-Task: jira:${another.slice(0, 200)}`] }),
    message({ token: foreign }),
    message({ token: forged }),
    message({ token: `${token}, ${another}` }),
    message({ fields: [`Authorization: Basic ${secrets.password}`] }),
    message({ target: `/crm/customers/9821?access_token=${another}` }),
    'GET /crm/customers/9821 HTTP/1.1\r\nHost: gate.example\r\nAuthorization Bearer no-colon\r\n\r\n',
  ]
  const answers: string[] = []
  for (const each of messages) {
    const { status, headers, body } = await gate.ask(each)
    const { 'www-authenticate': challenge } = headers
    // A refusal of `Lease-Task` repeats what it was asked for, to the one who asked.
    if (!each.includes('Lease-Task')) answers.push(`${status} ${challenge} ${body}`)
  }
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const parameters = new URLSearchParams({
    client_assertion: assertion,
    subject_token: foreign,
    actor_token: token,
  })
  const guess = { authorization: `Bearer ${secrets['guess at the operator token']}` }
  for (const response of [
    await post('/token', form, parameters.toString()),
    await post('/introspect', { ...form, ...guess }, new URLSearchParams({ token }).toString()),
    await post(
      '/revocations',
      { ...guess, 'content-type': 'application/json' },
      JSON.stringify({ lease: token }),
    ),
    await gate.revoke({ lease: token, reason: 'leaked' }),
    await gate.revoke({ session: 'ses_x', reason: 'leaked' }),
  ]) {
    answers.push(await response.text())
  }
  const rotation = await rotateKeys(gate.config.broker.keyFile, { aheadSeconds: 0 }, Date.now() / 1000)
  expect(rotation).toHaveLength(2)
  await eventually(() => gate.logText().includes('the signing keys have changed'), 'the rotation in the log')
  // The parser's own refusals are records as well.
  await eventually(() => gate.records().length >= messages.length, 'every record')

  const readiness = JSON.stringify(await gate.readiness())
  const texts = {
    'the audit file': gate.auditText(),
    'the log': gate.logText(),
    'the metrics': await gate.metrics(),
    'the readiness': readiness,
    'the answers': answers.join('\n'),
  }
  for (const text of Object.values(texts)) expect(text).not.toBe('')
  noSecretIn(texts, { ...secrets, ...privateKeys() })
})

test('what would leak is found, in whatever coding', () => {
  const token = testIssuer().token()
  const [, payload = '', signature = ''] = token.split('.')
  for (const text of [token, payload, `?t=${signature}&`, Buffer.from(signature).toString('base64')]) {
    expect(() => noSecretIn({ log: `before ${text} after` }, { token })).toThrow(/token in log/)
  }
  expect(() => noSecretIn({ log: 'a%2Fb%2Fc%2Fd%2Fe' }, { password: 'a/b/c/d/e' })).toThrow()
  noSecretIn({ log: 'nothing' }, { token })
})
