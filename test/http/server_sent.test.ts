// Streams of server-sent events over real sockets: what a reader gets, that nothing in the data can make an event of its
// own, that a reader who does not read costs a bounded amount, and that ends are noticed.
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { beginStream, type EventWriter, streamHeaders } from '../../src/http/server_sent.ts'
import { eventually } from '../support/gate.ts'

const servers: Server[] = []
const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

/** A server that streams; the writer of the stream that somebody opened. */
async function streaming(times?: { heartbeatMs: number; stalledMs: number }) {
  const writers: EventWriter[] = []
  const server = createServer((_, res) => {
    beginStream(res, { headers: streamHeaders, body: (writer) => writers.push(writer) }, times)
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const socket = connect(port, '127.0.0.1')
  sockets.push(socket)
  let text = ''
  socket.setEncoding('utf8').on('data', (data: string) => {
    text += data
  })
  socket.on('error', () => {})
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await eventually(() => writers.length === 1, 'the stream')
  return { writer: writers[0]!, socket, text: () => text }
}

test('an event is one event, whatever is in its data', async () => {
  const { writer, text } = await streaming()
  const hostile = 'a\n\nevent: forged\ndata: {}\r\n\r\nid: 1\rretry: 1\u2028\u2029'
  expect(writer.send('decision', { path: hostile })).toBe(true)
  await eventually(() => text().includes('forged'), 'the event')
  const lines = text()
    .split(/\r\n|\n|\r/)
    .filter((line) => /^(event|data|id|retry):/.test(line))
  expect(lines).toHaveLength(2)
  expect(lines[0]).toBe('event: decision')
  expect(JSON.parse(lines[1]!.slice('data: '.length))).toEqual({ path: hostile })
})

test('a reader who does not read is sent no more than a bounded amount, and is cut off', async () => {
  const { writer, socket } = await streaming({ heartbeatMs: 100_000, stalledMs: 1 })
  socket.pause()
  const data = { text: 'x'.repeat(65_536) }
  let sent = 0
  await eventually(() => {
    for (let round = 0; round < 100 && writer.send('decision', data); round++) sent++
    return writer.over.aborted
  }, 'the end of the stream')
  // The kernel's buffers of both ends take some MiB, the writer keeps a quarter of one.
  expect(sent).toBeLessThan(1_000)
})

test('a comment comes while nothing happens', async () => {
  const { text } = await streaming({ heartbeatMs: 10, stalledMs: 30_000 })
  await eventually(() => (text().match(/^:$/gm) ?? []).length > 2, 'heartbeats')
})

test('the end of the reader ends the stream, and nothing is sent after that', async () => {
  const { writer, socket } = await streaming()
  socket.destroy()
  await eventually(() => writer.over.aborted, 'the end of the stream')
  expect(writer.send('decision', {})).toBe(false)
})

test('the end of the writer ends the answer', async () => {
  const { writer, text } = await streaming()
  writer.send('status', { ready: true })
  writer.end()
  await eventually(() => writer.over.aborted, 'the end of the stream')
  expect(text()).toContain('event: status\ndata: {"ready":true}\n\n')
})
