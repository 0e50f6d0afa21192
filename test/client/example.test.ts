// The agents of examples/ as people run them: programs of their own, against a real broker and a real gate.
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { packageRoot } from '../../src/version.ts'
import { startTestBroker, type TestBroker } from '../support/broker.ts'
import { approved, decide, refused } from '../support/client.ts'
import { eventually } from '../support/gate.ts'

const example = join(packageRoot, 'examples/agent.ts')
const dir = mkdtempSync(join(tmpdir(), 'leasegate-example-'))
let broker: TestBroker

beforeAll(async () => {
  broker = await startTestBroker()
  const { kid, privateKey } = broker.keys.get('support-triage')!
  writeFileSync(join(dir, 'key.json'), JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid }))
}, 60_000)
afterAll(async () => {
  await broker.close()
  rmSync(dir, { recursive: true })
})

function run(userToken: string, program = example) {
  const env = { BROKER: broker.brokerUrl, GATE: broker.gateUrl, USER_TOKEN: userToken }
  return promisify(execFile)(process.execPath, [program], {
    env: { ...process.env, ...env, AGENT_KEY: join(dir, 'key.json') },
  })
}

test('the agent reads the customer and completes its lease', async () => {
  expect(await run(broker.idToken())).toMatchObject({ stdout: expect.stringMatching(/^200 /), stderr: '' })
  const [record] = await (await broker.store()).leases.list({ limit: 1 })
  expect(record).toMatchObject({ state: 'completed', user: 'alice@example.com', binding: { method: 'dpop' } })
})

test('the agent says why it is refused, and exits with 1', async () => {
  const token = broker.idToken({ sub: 'mallory@example.com' })
  const refused = run(token)
  await expect(refused).rejects.toMatchObject({ code: 1, stdout: '' })
  const { stderr } = await refused.catch((error: { stderr: string }) => error)
  expect(stderr).toContain('invalid_authorization_details')
  expect(stderr).not.toContain(token)
})

test.each([
  [
    'and a human says yes: it is done',
    approved,
    { code: 0, stdout: /^waiting act_\S+ \S+Z\n200 /, stderr: '' },
  ],
  [
    'and a human says no: the agent says why, and exits with 1',
    refused,
    { code: 1, stdout: /^waiting act_/, stderr: 'a human said no: an invoice is open\n' },
  ],
])('an agent asks for a delete, %s', async (_, decision, { code, stdout, stderr }) => {
  const running = run(broker.idToken(), join(packageRoot, 'examples/delete.ts'))
  let said = ''
  running.child.stdout!.on('data', (text) => {
    said += text
  })
  const ended = running.then(
    (output) => ({ ...output, code: 0 }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  )
  await eventually(() => said.includes('waiting'), 'the agent that waits')
  await decide(broker, /act_\w+/.exec(said)![0], decision)
  expect(await ended).toMatchObject({ code, stdout: expect.stringMatching(stdout), stderr })
})

test('README.md shows the very file, in 20 lines or so', () => {
  const [, ...code] = readFileSync(example, 'utf8')
    .replace(/^(?:\/\/.*\n)+/, '\n')
    .split('\n')
  const shown = code.join('\n').replace('../src/client/index.ts', 'leasegate/client')
  expect(readFileSync(join(packageRoot, 'README.md'), 'utf8')).toContain(`\`\`\`ts\n${shown}\`\`\`\n`)
  expect(code.filter((line) => line.trim() !== '').length).toBeLessThanOrEqual(26)
})
