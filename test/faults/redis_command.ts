// In: the address of a Redis, a command on one line. Out: its answer. For what tests do to a server behind the
// gates' backs. Throws the server's own error.
import { once } from 'node:events'
import { connect } from 'node:net'

/** One command, without quoting (an "inline command" of the Redis protocol), for answers of one line. */
export async function redisCommand(url: string, command: string): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  try {
    socket.write(`${command}\r\n`)
    const [data] = (await once(socket, 'data')) as [Buffer]
    const text = data.toString()
    if (text.startsWith('-')) throw new Error(text.trim())
    return text
  } finally {
    socket.destroy()
  }
}
