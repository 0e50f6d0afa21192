// Pipelined messages on one connection: they take turns, and a client cannot make the gate hoard them.
import type { ServerResponse } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { authority, eventually, message, startTestGate, type TestGate } from '../support/gate.ts'

const held: ServerResponse[] = []
let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate({ answer: (_, res) => held.push(res) })
})
afterAll(async () => {
  for (const res of held) res.destroy()
  await gate.close()
})

/** Answers the oldest request that waits at the backend. */
async function release(): Promise<void> {
  await eventually(() => held.length > 0, 'a request at the backend')
  held.shift()?.writeHead(200, { 'content-type': 'application/json' }).end('{}')
}

test('a CONNECT does not overtake the answer before it', async () => {
  using connection = await gate.connect()
  connection.write(message({ token: gate.token() }))
  connection.write(`CONNECT ${authority}:80 HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
  await release()
  expect((await connection.answer()).status).toBe(200)
  expect((await connection.answer()).status).toBe(405)
})

test('a request waits until the one before it has been answered', async () => {
  using connection = await gate.connect()
  connection.write(message({ token: gate.token() }) + message({ token: gate.token() }))
  await release()
  expect((await connection.answer()).status).toBe(200)
  await release()
  expect((await connection.answer()).status).toBe(200)
})

test('a client that pipelines without end behind a slow answer is cut off', async () => {
  using connection = await gate.connect()
  connection.write(message({ token: gate.token() }))
  await eventually(() => held.length > 0, 'a request at the backend')
  connection.write(message({}).repeat(1_000))
  await connection.closed()
  held.pop()?.destroy()
  expect((await gate.ask(message({}))).status).toBe(401)
})
