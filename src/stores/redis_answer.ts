// In: what a command to Redis came to. Out: its value, or `Unavailable` with a word or two for what went wrong.
// It never passes on the message of the client library: that can hold what was sent, passwords included.
import { Unavailable } from '../ports.ts'

/** The reply, or `Unavailable`. */
export async function answer<T>(reply: Promise<T>): Promise<T> {
  try {
    return await reply
  } catch (error) {
    throw new Unavailable(`Redis: ${reason(error)}`)
  }
}

/**
 * One word or two for what went wrong. Never the message itself, and never the error as `cause`: ioredis
 * attaches the command with its arguments, and those of AUTH are the password.
 */
export function reason(error: unknown): string {
  if (error instanceof Unavailable) return error.message
  if (!(error instanceof Error)) return 'failed'
  if ('code' in error && typeof error.code === 'string') return error.code
  if (error.message.endsWith('timed out')) return 'timed out'
  const word = /^-?([A-Z]{3,})(?= )/.exec(error.message)?.[1]
  if (word === undefined) return 'connection lost'
  // The name of a command comes from the server's own table, so it can be told.
  const command = / '([a-z]+(?:\|[a-z-]+)?)' command/.exec(error.message)?.[1]
  return word === 'NOPERM' && command !== undefined ? `NOPERM: the user may not run ${command}` : word
}
