// Every fault, in the order of the report. ADD A FAULT to the table of its store in cases/.
import { embeddedFaults } from './cases/embedded.ts'
import { machineFaults } from './cases/machines.ts'
import { redisFaults } from './cases/redis.ts'
import { clusterFaults, sentinelFaults } from './cases/topologies.ts'
import type { Fault } from './fault.ts'

export const faults: readonly Fault[] = [
  ...redisFaults,
  ...machineFaults,
  ...sentinelFaults,
  ...clusterFaults,
  ...embeddedFaults,
]
