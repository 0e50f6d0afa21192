// In: nothing. Out: a backend that answers every GET with the same 700 bytes of JSON and costs as little as a
// process can. Says its port to the process that started it. Never reads a body.
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { serveParent } from './process.ts'

const customer = { id: 9821, name: 'Maria Lindqvist', notes: '' }
const body = JSON.stringify({ ...customer, notes: 'x'.repeat(700 - JSON.stringify(customer).length) })
const answer = Buffer.from(
  [
    'HTTP/1.1 200 OK',
    'content-type: application/json',
    `content-length: ${body.length}`,
    'cache-control: no-store',
    'etag: "9821-7"',
    'date: Mon, 02 Nov 2026 00:00:00 GMT',
    'connection: keep-alive',
    '',
    body,
  ].join('\r\n'),
)

const server = createServer({ noDelay: true }, (socket) => {
  // Proxies send one request at a time, so whatever ends in an empty line is one whole GET.
  let tail = ''
  socket.on('data', (chunk) => {
    tail = (tail + chunk.toString('latin1', Math.max(0, chunk.length - 4))).slice(-4)
    if (tail === '\r\n\r\n') socket.write(answer)
  })
  socket.on('error', () => socket.destroy())
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
await serveParent({ port: (server.address() as AddressInfo).port })
