// Faults between machines: two gates, each in a network namespace of its own, and a link of each to Redis.
import { setTimeout as sleep } from 'node:timers/promises'
import { type FaultProxy, startFaultProxy } from '../../support/fault_proxy.ts'
import { type Link, openMachine, type TestMachine } from '../../support/machines.ts'
import { startRedis } from '../../support/redis.ts'
import { type GatePlace, maxStalenessMs } from '../deployment.ts'
import { type Fault, NotHere, type Site } from '../fault.ts'
import { redisState } from './redis.ts'

export interface MachineSite extends Site {
  readonly machines: readonly TestMachine[]
}

/** A Redis here, and two machines with a gate each. Throws `NotHere` without the right to make them. */
export async function machineSite(): Promise<MachineSite> {
  const machines: TestMachine[] = []
  const relays: FaultProxy[] = []
  const redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always'])
  const close = async () => {
    await Promise.all(relays.map((relay) => relay.close()))
    for (const machine of machines) machine.close()
    await redis.stop()
  }
  const { port } = new URL(redis.url)
  const relay = async (to: number, host: string) => {
    const started = await startFaultProxy({ host: '127.0.0.1', port: to }, host)
    relays.push(started)
    return `${started.host}:${started.port}`
  }
  const places: GatePlace[] = []
  for (let at = 0; at < 2; at++) {
    const machine = openMachine()
    if (machine === undefined) {
      await close()
      throw new NotHere(
        'network namespaces need root; the faults of one machine have been tried over a proxy',
      )
    }
    machines.push(machine)
    places.push({
      state: redisState(`redis://${await relay(Number(port), machine.storeSide)}`),
      machine,
      backendUrl: async (backend) => `http://${await relay(backend.port, machine.agentsSide)}`,
    })
  }
  return { machines, places, anew: { state: redisState(redis.url) }, close }
}

function partition(link: Link): Fault<MachineSite>['inflict'] {
  return async (deployment, { machines: [machine] }) => {
    deployment.revokeThrough(deployment.gates[1]!)
    machine!.turnStoreLink(link)
    await deployment.moreRevocations(20)
    await sleep(maxStalenessMs + 1500)
    machine!.turnStoreLink('up')
    deployment.revokeThrough(...deployment.gates)
  }
}

export const machineFaults: readonly Fault<MachineSite>[] = [
  {
    name: 'machine-link-down',
    what: 'the link of one machine to Redis is down: packets are lost',
    open: machineSite,
    inflict: partition('down'),
  },
  {
    name: 'machine-unreachable',
    what: 'one machine has no route to Redis',
    open: machineSite,
    inflict: partition('unreachable'),
  },
]
