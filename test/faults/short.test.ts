// The short form of `npm run test:faults`, as part of every test run.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { faults } from './cases.ts'
import { type Ground, openGround } from './deployment.ts'
import { suffer } from './fault.ts'

let ground: Ground
beforeAll(async () => {
  ground = await openGround()
})
afterAll(() => ground[Symbol.asyncDispose]())

const short = faults.filter((fault) => fault.short === true)

test.each(short.map((fault) => [fault.what, fault] as const))(
  '%s',
  { timeout: 180_000 },
  async (_, fault) => {
    const { accepted, lost, tested, acknowledged, passed } = await suffer(fault, ground)
    expect(accepted).toEqual([])
    expect(lost).toEqual([])
    expect(tested).toBeGreaterThan(0)
    expect(acknowledged).toBeGreaterThanOrEqual(5)
    expect(passed).toBe(true)
  },
)
