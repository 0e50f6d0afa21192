import { describe, expect, it } from 'vitest'
import { InBatches } from '../../src/stores/in_batches.ts'

describe('work in batches', () => {
  const recording = (work: (items: readonly number[]) => Promise<unknown> = async () => {}) => {
    const done: number[][] = []
    const batches = new InBatches<number>({
      size: 2,
      work: async (items) => {
        await work(items)
        done.push([...items])
      },
    })
    return { batches, done }
  }

  it('is done one batch at a time when there is no time for more, and to the end when there is', async () => {
    const { batches, done } = recording()
    batches.begin([1, 2, 3, 4, 5].values())
    await batches.some(0)
    expect(done).toEqual([[1, 2]])
    expect(batches.isDone).toBe(false)
    await batches.some(60_000)
    expect(done).toEqual([[1, 2], [3, 4], [5]])
    expect(batches.isDone).toBe(true)
  })

  it('drops nothing that has failed: it comes first the next time', async () => {
    let isAway = true
    const { batches, done } = recording(async () => {
      if (isAway) throw new Error('away')
    })
    batches.begin([1, 2, 3].values())
    await expect(batches.some(60_000)).rejects.toThrow('away')
    isAway = false
    await batches.some(60_000)
    expect(done).toEqual([[1, 2], [3]])
  })

  it('leaves what it had not done where it is begun anew', async () => {
    const { batches, done } = recording()
    batches.begin([1, 2, 3].values())
    await batches.some(0)
    batches.begin([9].values())
    await batches.some(60_000)
    expect(done).toEqual([[1, 2], [9]])
  })
})
