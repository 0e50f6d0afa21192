// In: how long to measure. Out: what several processes on one port do under each way of handing connections out:
// throughput, balance, and what becomes of connections when one of the processes hangs and dies. No gate yet.
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Accepting } from './accepting.ts'
import { closedLoop } from './load.ts'
import { printTable, round, spread } from './numbers.ts'
import { startServer } from './process.ts'

const ways = ['single', 'shared_queue', 'round_robin', 'reuse_port'] as const
const connections = 64

/** Measures, prints a table. `round` in seconds. */
export async function measureAccepting({
  rounds,
  round: seconds,
}: {
  readonly rounds: number
  readonly round: number
}): Promise<object> {
  const results: Record<string, object> = {}
  const rows: (string | number)[][] = []
  for (const way of ways) {
    const server = (await startServer('accepting.ts', [way])) as Awaited<ReturnType<typeof startServer>> &
      Accepting
    const kept: number[] = []
    const closing: number[] = []
    const shares: number[] = []
    const closingShares: number[] = []
    for (let n = 0; n < rounds; n++) {
      shares.push(largestShare(await ownersOf(server.port)))
      kept.push(await closedLoop({ port: server.port, request: bare, connections, seconds }))
      const { perSecond, owners } = await closingLoop(server.port, seconds)
      closing.push(perSecond)
      closingShares.push(largestShare(owners))
    }
    const lost = way === 'single' ? undefined : await loseOne(server)
    const result = {
      keep_alive_rps: spread(kept.map(round)),
      close_rps: spread(closing.map(round)),
      keep_alive_largest_share: spread(shares.map(round)),
      close_largest_share: spread(closingShares.map(round)),
      ...(lost === undefined ? {} : { one_hangs_then_dies: lost }),
    }
    results[way] = result
    rows.push([
      way,
      result.keep_alive_rps.median,
      result.close_rps.median,
      result.keep_alive_largest_share.median,
      result.close_largest_share.median,
      ...(lost === undefined ? ['', '', ''] : [lost.answered_while_hung, lost.answered_later, lost.broken]),
    ])
    await server.stop()
  }
  printTable(
    ['way', 'keep-alive/s', 'close/s', 'share, kept', 'share, close', 'while hung', 'later', 'broken'],
    rows,
  )
  return results
}

const bare = Buffer.from('GET / HTTP/1.1\r\nHost: bench\r\n\r\n')
const closingRequest = 'GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n'

/** One request on a connection of its own: the process that answered; undefined when the connection broke. */
function askOnce(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(closingRequest))
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk
    })
    socket.on('error', () => {})
    socket.once('close', () => resolve(/\r\n\r\n(\d+)$/.exec(text)?.[1]))
  })
}

async function closingLoop(port: number, seconds: number) {
  const owners = new Map<string, number>()
  const until = performance.now() + seconds * 1000
  let answers = 0
  const client = async () => {
    while (performance.now() < until) {
      const owner = await askOnce(port)
      if (owner === undefined) throw new Error('a connection broke')
      owners.set(owner, (owners.get(owner) ?? 0) + 1)
      answers++
    }
  }
  await Promise.all(Array.from({ length: connections }, client))
  return { perSecond: answers / seconds, owners: [...owners.values()] }
}

/** How many of the connections that are opened at once each process has. */
async function ownersOf(port: number): Promise<number[]> {
  const owners = new Map<string, number>()
  for (const owner of await Promise.all(Array.from({ length: connections }, () => askOnce(port)))) {
    if (owner !== undefined) owners.set(owner, (owners.get(owner) ?? 0) + 1)
  }
  return [...owners.values()]
}

const largestShare = (counts: readonly number[]) =>
  Math.max(...counts) / counts.reduce((all, count) => all + count, 0)

/** 200 connections while one of two processes hangs; a second later it is killed. */
async function loseOne({ port, pids }: Accepting) {
  process.kill(pids[0]!, 'SIGSTOP')
  let killed = false
  const count = { answered_while_hung: 0, answered_later: 0, broken: 0 }
  const asked = Array.from({ length: 200 }, async () => {
    const answered = (await askOnce(port)) !== undefined
    count[answered ? (killed ? 'answered_later' : 'answered_while_hung') : 'broken']++
  })
  await sleep(1000)
  killed = true
  process.kill(pids[0]!, 'SIGKILL')
  await Promise.race([Promise.all(asked), sleep(5000)])
  return count
}
