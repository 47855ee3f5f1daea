/** What a panel shows that has nothing to draw. */
export function Nothing({ panel, message, theme }) {
  const { secondary } = theme.colors.text;
  return (
    <div style={{ display: 'grid', placeItems: 'center', height: '100%' }}>
      <div style={{ color: secondary, fontSize: theme.typography.size.lg }}>
        {message ?? panel.fieldConfig?.defaults?.noValue ?? 'No data'}
      </div>
    </div>
  );
}
