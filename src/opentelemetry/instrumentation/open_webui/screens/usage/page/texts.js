/* All words of the page, by language. `{…}` is filled in. */

const LANGUAGES = ["en", "de", "fr", "es", "zh", "ja"];

const TEXTS = {
  title: ["Usage", "Nutzung", "Utilisation", "Uso", "用量", "利用状況"],
  back: ["Back to Open WebUI", "Zurück zu Open WebUI", "Retour à Open WebUI", "Volver a Open WebUI", "返回 Open WebUI", "Open WebUI に戻る"],
  skip: ["Skip to the numbers", "Zu den Zahlen", "Aller aux chiffres", "Ir a las cifras", "跳到数据", "数値へ移動"],
  views: ["Views", "Ansichten", "Vues", "Vistas", "视图", "表示"],
  mine: ["My usage", "Meine Nutzung", "Mon utilisation", "Mi uso", "我的用量", "自分の利用"],
  history: ["My calls", "Meine Aufrufe", "Mes appels", "Mis llamadas", "我的调用", "自分の呼び出し"],
  leaderboard: ["Leaderboard", "Rangliste", "Classement", "Clasificación", "排行榜", "ランキング"],
  all: ["Everybody", "Alle", "Tout le monde", "Todos", "所有人", "全員"],
  users: ["Users", "Benutzer", "Utilisateurs", "Usuarios", "用户", "ユーザー"],
  groups: ["Groups", "Gruppen", "Groupes", "Grupos", "群组", "グループ"],
  models: ["Models", "Modelle", "Modèles", "Modelos", "模型", "モデル"],
  calls: ["Calls", "Aufrufe", "Appels", "Llamadas", "调用", "呼び出し"],
  chargeback: ["Chargeback", "Kostenverrechnung", "Refacturation", "Reparto de costes", "费用分摊", "費用配賦"],
  limits: ["Limits", "Limits", "Limites", "Límites", "限额", "上限"],

  period: ["Period", "Zeitraum", "Période", "Período", "时段", "期間"],
  today: ["Today", "Heute", "Aujourd'hui", "Hoy", "今天", "今日"],
  "7d": ["7 days", "7 Tage", "7 jours", "7 días", "7 天", "7 日間"],
  "30d": ["30 days", "30 Tage", "30 jours", "30 días", "30 天", "30 日間"],
  "90d": ["90 days", "90 Tage", "90 jours", "90 días", "90 天", "90 日間"],
  "365d": ["365 days", "365 Tage", "365 jours", "365 días", "365 天", "365 日間"],
  month: ["This month", "Dieser Monat", "Ce mois-ci", "Este mes", "本月", "今月"],
  last_month: ["Last month", "Letzter Monat", "Le mois dernier", "El mes pasado", "上个月", "先月"],
  ever: ["All time", "Gesamt", "Depuis le début", "Desde el inicio", "全部时间", "全期間"],
  days: ["{first} to {last}", "{first} bis {last}", "du {first} au {last}", "{first} a {last}", "{first} 至 {last}", "{first}～{last}"],

  source: ["Source", "Quelle", "Source", "Origen", "来源", "利用元"],
  both: ["Both", "Beide", "Les deux", "Ambas", "全部", "両方"],
  ui: ["UI", "UI", "UI", "UI", "UI", "UI"],
  api: ["API", "API", "API", "API", "API", "API"],
  background: ["Background", "Hintergrund", "Arrière-plan", "Segundo plano", "后台", "バックグラウンド"],

  cost: ["Cost", "Kosten", "Coût", "Coste", "费用", "費用"],
  requests: ["Requests", "Anfragen", "Requêtes", "Solicitudes", "请求", "リクエスト"],
  messages: ["Messages", "Nachrichten", "Messages", "Mensajes", "消息", "メッセージ"],
  tokens: ["Tokens", "Token", "Tokens", "Tokens", "词元", "トークン"],
  input: ["Input", "Eingabe", "Entrée", "Entrada", "输入", "入力"],
  output: ["Output", "Ausgabe", "Sortie", "Salida", "输出", "出力"],
  failed: ["Failed", "Fehlgeschlagen", "Échecs", "Fallidas", "失败", "失敗"],
  in_out: ["{input} in, {output} out", "{input} ein, {output} aus", "{input} en entrée, {output} en sortie", "{input} de entrada, {output} de salida", "输入 {input}，输出 {output}", "入力 {input}、出力 {output}"],
  unpriced: ["+ {n} without a known price", "+ {n} ohne bekannten Preis", "+ {n} sans prix connu", "+ {n} sin precio conocido", "+ {n} 个价格未知", "+ 価格不明 {n} 件"],
  unknown_price: ["price unknown", "Preis unbekannt", "prix inconnu", "precio desconocido", "价格未知", "価格不明"],
  estimated: ["tokens of {n} requests are estimated (≈)", "Token von {n} Anfragen sind geschätzt (≈)", "tokens de {n} requêtes estimés (≈)", "tokens de {n} solicitudes estimados (≈)", "{n} 个请求的词元为估算值 (≈)", "{n} 件のトークンは推定値 (≈)"],
  is_estimated: ["estimated", "geschätzt", "estimé", "estimado", "估算", "推定"],
  user: ["User", "Benutzer", "Utilisateur", "Usuario", "用户", "ユーザー"],
  group: ["Group", "Gruppe", "Groupe", "Grupo", "群组", "グループ"],
  model: ["Model", "Modell", "Modèle", "Modelo", "模型", "モデル"],
  time: ["Time", "Zeit", "Heure", "Hora", "时间", "時刻"],
  begin: ["From", "Ab", "À partir de", "Desde", "起始", "開始"],
  task: ["Task", "Aufgabe", "Tâche", "Tarea", "任务", "タスク"],
  route: ["Route", "Route", "Route", "Ruta", "路由", "ルート"],
  duration: ["Duration", "Dauer", "Durée", "Duración", "时长", "所要時間"],
  state: ["State", "Status", "État", "Estado", "状态", "状態"],
  ok: ["OK", "OK", "OK", "OK", "成功", "成功"],
  any: ["All", "Alle", "Tous", "Todos", "全部", "すべて"],
  provider: ["Provider", "Anbieter", "Fournisseur", "Proveedor", "提供商", "プロバイダー"],

  over_time: ["{what} over time", "{what} im Zeitverlauf", "{what} dans le temps", "{what} en el tiempo", "{what}随时间变化", "{what}の推移"],
  as_table: ["As a table", "Als Tabelle", "En tableau", "Como tabla", "以表格显示", "表で表示"],
  by_model: ["By model", "Nach Modell", "Par modèle", "Por modelo", "按模型", "モデル別"],
  by_source: ["By source", "Nach Quelle", "Par source", "Por origen", "按来源", "利用元別"],
  active_users: ["Users", "Benutzer", "Utilisateurs", "Usuarios", "用户数", "ユーザー数"],
  nothing: ["Nothing was used in this period.", "In diesem Zeitraum wurde nichts genutzt.", "Rien n'a été utilisé sur cette période.", "No se usó nada en este período.", "该时段没有用量。", "この期間の利用はありません。"],
  newest: ["Newest", "Neueste", "Plus récents", "Más recientes", "最新", "最新"],
  older: ["Older", "Ältere", "Plus anciens", "Más antiguas", "更早", "以前"],
  previous: ["Previous", "Zurück", "Précédent", "Anterior", "上一页", "前へ"],
  next: ["Next", "Weiter", "Suivant", "Siguiente", "下一页", "次へ"],
  rows: ["{first} to {last} of {total}", "{first} bis {last} von {total}", "{first} à {last} sur {total}", "{first} a {last} de {total}", "{first}–{last} / 共 {total}", "{first}～{last} / {total} 件"],
  csv: ["Download CSV", "CSV herunterladen", "Télécharger en CSV", "Descargar CSV", "下载 CSV", "CSV をダウンロード"],
  search: ["Name or e-mail", "Name oder E-Mail", "Nom ou e-mail", "Nombre o correo", "姓名或邮箱", "名前またはメール"],
  only: ["Only {what}: {name}", "Nur {what}: {name}", "Seulement {what} : {name}", "Solo {what}: {name}", "仅{what}：{name}", "{what}：{name} のみ"],
  remove: ["Show all again", "Wieder alles zeigen", "Tout afficher à nouveau", "Mostrar todo de nuevo", "重新显示全部", "すべて表示に戻す"],
  groups_note: ["A call counts in each group of its user, so groups are not to be added up.", "Ein Aufruf zählt in jeder Gruppe seines Benutzers; Gruppen dürfen nicht addiert werden.", "Un appel compte dans chaque groupe de son utilisateur : ne pas additionner les groupes.", "Una llamada cuenta en cada grupo de su usuario: no se deben sumar los grupos.", "一次调用计入其用户的每个群组，因此各群组不可相加。", "1 回の呼び出しはユーザーの全グループに計上されるため、グループを合計しないでください。"],
  charge_rule: ["Who is in several groups", "Wer in mehreren Gruppen ist", "Membre de plusieurs groupes", "Quien está en varios grupos", "属于多个群组时", "複数グループの所属者"],
  split: ["Equal parts", "Gleiche Teile", "Parts égales", "Partes iguales", "平均分摊", "均等に配賦"],
  first: ["First by order", "Erste der Reihenfolge", "Premier selon l'ordre", "El primero en orden", "按顺序取第一个", "優先順の先頭"],
  order: ["Order of groups, with commas", "Reihenfolge der Gruppen, mit Kommas", "Ordre des groupes, avec des virgules", "Orden de los grupos, con comas", "群组顺序（逗号分隔）", "グループの優先順（コンマ区切り）"],
  in_all: ["In all", "Insgesamt", "Total", "En total", "合计", "合計"],
  without_price: ["Without a known price, and so not in the cost", "Ohne bekannten Preis, also nicht in den Kosten", "Sans prix connu, donc hors coût", "Sin precio conocido, y por tanto fuera del coste", "价格未知，因此未计入费用", "価格不明のため費用に含まれません"],
  rank: ["Rank", "Rang", "Rang", "Puesto", "名次", "順位"],
  you: ["you", "Sie", "vous", "usted", "您", "あなた"],
  somebody: ["somebody", "jemand", "quelqu'un", "alguien", "某人", "匿名"],
  show_me: ["Show me on the leaderboard", "Mich in der Rangliste zeigen", "M'afficher dans le classement", "Mostrarme en la clasificación", "在排行榜上显示我", "自分をランキングに表示"],
  loading: ["Loading…", "Lädt…", "Chargement…", "Cargando…", "加载中…", "読み込み中…"],
  failure: ["This cannot be shown now: {why}", "Das kann gerade nicht gezeigt werden: {why}", "Affichage impossible pour l'instant : {why}", "No se puede mostrar ahora: {why}", "暂时无法显示：{why}", "現在表示できません：{why}"],
  sort_by: ["Sort by {what}", "Nach {what} sortieren", "Trier par {what}", "Ordenar por {what}", "按{what}排序", "{what}で並べ替え"],
};

const supported = (name) => {
  const short = (name || "").toLowerCase().split("-")[0];
  return LANGUAGES.includes(short) ? short : null;
};

/* What Open WebUI is set to; else what the browser is. */
const wished = [localStorage.getItem("locale"), ...navigator.languages].filter(Boolean);

export const locale = wished.find(supported) || "en";

const column = LANGUAGES.indexOf(supported(locale));

export const text = (key, values = {}) => {
  const found = TEXTS[key]?.[column] ?? key;
  return found.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
};
