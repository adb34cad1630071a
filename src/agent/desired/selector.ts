import type { ImageSet } from "../../kubernetes/image-set.ts";

type Selector = ImageSet["spec"]["nodeSelector"];
type Operator = Selector["matchExpressions"][number]["operator"];

/** Whether a node with these labels is one that the selector means, as Kubernetes' label selectors do: all parts must hold. */
export function selects(
  { matchLabels, matchExpressions }: Selector,
  labels: Readonly<Record<string, string>>,
): boolean {
  const labelOf = (key: string) => (Object.hasOwn(labels, key) ? labels[key] : undefined);
  const agrees: Readonly<Record<Operator, (value: string | undefined, values: readonly string[]) => boolean>> = {
    In: (value, values) => value !== undefined && values.includes(value),
    NotIn: (value, values) => value === undefined || !values.includes(value),
    Exists: (value) => value !== undefined,
    DoesNotExist: (value) => value === undefined,
  };
  return (
    Object.entries(matchLabels).every(([key, value]) => labelOf(key) === value) &&
    matchExpressions.every(({ key, operator, values }) => agrees[operator](labelOf(key), values))
  );
}
