"""The sentence forms of ``chinese``; what their letters stand for is told there.

The last quarter of a list of four or more is held out of training.
"""

# One part: of a new look that moves, that does not; of a known look; of one in a picture.
NEW = tuple(
    """
    U闪亮登场,NPV 主体:U;动作:PV L冒出U,NV 看,UPHV 让UPV U:PV 有UPV NP,V 画面中出现U,NPV
    主角是U,NPV U登场,NPV 有UPHV 这是U,NPV 镜头前是U,NPV 我们看到UPV 只见UPV U——PV L出现U,NV
    N,PV LUHV NPV NPV UPV L有U,NV L有UHV LM L有M L有Z,NV 可以看到UPV LUV 只见UPHV
    画面里有U,NPV LZ,NV 看见UPV U亮相,NPV
    """.split()
)
NEW_STATIC = tuple(
    """
    就UP 这是UP 画面里只有UP NP 只有UP 出现UP 画面上UP UP L有U 有UP L有Z 可以看到UP LZ 看到UP
    """.split()
)
# A new look of which colour and size are told behind; one that moves, told where it is at first.
LATE = tuple(
    """
    主体是O,它PV OPV 有OPV OP,它V 画面里有O,它PV 可以看到OPV L有O,它V 这里有OPV
    """.split()
)
LATE_STATIC = tuple(
    """
    主体是OP 这是OP OP 有OP L有O 可以看到OP 画面上OP
    """.split()
)
PLACED = tuple(
    """
    NV,开始在L NV,起点在L NV,从L出发 NV,一开始在L NV,它最初在L L:NV NV,起始位置是L 起点在L,NV
    开始时NPV NV,出发点在L NV,开头在L
    """.split()
)
VANISH = tuple(
    """
    没多久就T 一眨眼T 突然T 过一会儿T 先出现,然后T 最后T 出现片刻,随后T 露个面,然后T 一会儿之后T
    待了一会儿就T 出现了一下就T
    """.split()
)
KNOWN = tuple(
    """
    这时NPV NPV 现在NPV NPV NPV NPV 可以看到NPV 只见NPV 此时NPV
    """.split()
)
KNOWN_STATIC = tuple(
    """
    仍然是NP 继续看NP 还是NP 又是NP 再看NP 只有NP 依旧是NP
    """.split()
)
PICTURE = tuple(
    """
    麻烦让NV 能不能让NV 要NV 希望NV 叫NV 接下来NV 想看到NV NV NV 让NV 让NV NV 请让NV 我想让NV 使NV
    """.split()
)

# Two parts that do the same: two alike; two others, new or known; one like the other.
ALIKE = tuple(
    """
    D,俩都PV D,两个都PV 有DPV 可以看到DPV DP,AV D,它们PV DPV DPAV L有D,它们V L有DV L有E DPAV
    L有D,它们AV LE 只见DPV
    """.split()
)
ALIKE_STATIC = tuple(
    """
    DP L有D 有DP 可以看到DP
    """.split()
)
BOTH_NEW = tuple(
    """
    有JPAV J,它们PAV 主角是J,它们PAV 出现J,它们PV JPAV JPAV L有J,它们V 可以看到JPV JPV L有J,它们AV
    只见JPV
    """.split()
)
BOTH_NEW_STATIC = tuple(
    """
    JP L有J 有JP 可以看到JP
    """.split()
)
BOTH = tuple(
    """
    这时JPAV 现在JPV JPAV JPAV JPV 只见JPAV 此时JPAV
    """.split()
)
BOTH_STATIC = tuple(
    """
    还是JP 又是JP 再看JP 只有JP
    """.split()
)
ALSO = tuple(
    """
    NPV,n同样pv NPV,n一样pv NPV,n跟着pv NPV,n也pv UPV,u也pv NPV,同时n也pv 只见NPV,n也pv
    NPV,n也照样pv
    """.split()
)

# Two parts that differ: two alike, two new, any.
ONE_OTHER = tuple(
    """
    D,前一个PV,后一个pv D,它们一个PV,另一个pv D:一个PV,另一个pv D,一个PV,而另一个pv
    D,第一个PV,第二个pv D,一个PV,另一个pv 有D,一个PV,另一个pv D,其中一个PV,另一个pv
    画面里有D,一个PV,另一个pv 这里有D,一个PV,另一个pv
    """.split()
)
TWO_NEW = tuple(
    """
    J;NPV;npv X;x X.x J,前者PV,后者pv 有J,前者PV,后者pv X,另外x X,还有x 有J:NPV,npv J:NPV;npv
    X,这时x 主角是J,NPV,npv X,x X,x X,同时x X,与此同时,x UPV,upv 有J,NPV,npv J,NPV,npv L有M,l还有m
    UPV,同时upv X,而x 画面里有J,NPV,npv LM,lm J,其中NPV,npv X,此时x
    """.split()
)
TWO = tuple(
    """
    X;x X.x X,这时x X,另外x X,x X,同时x X,x NPV,npv X,与此同时,x X,而x X,此时x
    """.split()
)

# The first part is related to the second, or goes to it; and the relation seen from the second.
RELATED_NEW = tuple(
    """
    可以看到UPRVq 只见UPRVq 有J,NPRVq 画面中UPRVq UPRVq UPRVq 有UPRVq NPRVq J,NPRVq 画面里有J,NPRVq
    J:NPRVq
    """.split()
)
RELATED = tuple(
    """
    这时NPRVq 现在NPRVq NPRVq NPRVq 可以看到NPRVq 只见NPRVq 此时NPRVq
    """.split()
)
# Both go to each other, or from each other.
MUTUAL = tuple(
    """
    只看到JPV JPV JPV 有J,它们PV 可以看到JPV J,两个图形PV 只见JPV
    """.split()
)
MUTUAL_RELATED = tuple(
    """
    JPV,NR JPV;NR 有J,它们PV,NR JPV,一开始NR 可以看到JPV,NR
    """.split()
)
INVERSE = tuple(
    """
    NPV,pr有uv NPV;uprv NPV,这时uprv NPV,uprv UPV,uprv NPV,同时uprv NPV,而uprv NPV,此时uprv
    """.split()
)

# What happens then; a shot with a background, with a moving camera, with both.
THEN = tuple(
    """
    F,突然T F,最后就T 本来F,结果T F,没一会儿T F,过一会儿T 一开始F,后来T 先是F,后来T 起初F,随后T
    前半段F,后半段T F,紧接着T F,没多久就T F,后来T F再T 开始时F,到最后T 刚开始F,之后T F完以后T
    F一会儿,再T F;然后T F,再T F并在最后T F,然后T F,不久以后T F,接着T 先F,再T 先F,然后T F,随后T
    F之后T F,最后T F然后T 先F,接着T F,之后T 先F,最后T F了一会儿,然后T F,不久T 最初F,后来T
    """.split()
)
BACKGROUND = tuple(
    """
    B.W W.B W;B G:W B:W W,B 场景布置:B,W W,B I G,W I GW B,W B;W
    """.split()
)
CAMERA = tuple(
    """
    运镜方式:K;W K.W W.K K;W W;K 运镜:K,W 在K的同时,W 拍摄时K,W W,拍摄时K W,K W,K K,W W,同时K
    随着K,W W,与此同时K W,这时K K的过程中,W
    """.split()
)
SCENERY = tuple(
    """
    B;K.W B,K,W K,B,W K.W.B W.B.K I.K B;W;K G,W,K I,K W,B,K K,GW W,K,B I,同时K 随着K,G,W B,W,K W;B;K
    K;I
    """.split()
)

# To the next shot: said to be one, with a transition, to a subject; said by its new subject alone.
CUT = tuple(
    """
    再来一个镜头:S 镜头切换,S 画面转到下一幕:S 另一个镜头里,S 到Y的时候,S 下个镜头:S 接下来:S
    然后是Y:S 下一个镜头,S 下一幕,S Y,S 然后C下一个画面:S 到了Y,S 换一个画面:S 后一个镜头:S
    C下一个镜头:S 下一个镜头:S Y:S 下一幕:S C下一个画面:S 接下来的镜头里,S 画面一转,S Y里,S
    C另一个画面:S 下一个画面:S C新的画面:S 镜头一转,S
    """.split()
)
SHIFT = tuple(
    """
    转场c:S 用c过渡,S 中间c,S 然后C下一个镜头:S 画面C下一幕:S C下个镜头:S C下一个镜头,S
    再C下一个画面:S CY,S C下一个镜头:S C下一个画面:S CY:S C下一幕:S 接着C下一个镜头:S
    随后C下一个画面:S
    """.split()
)
SUBJECT = tuple(
    """
    接着画面CU:S 然后CU,S 接着CU:S CU:S 画面CU:S 镜头CU,S CU,S 画面CU,S 再CU,S 随后CU,S 接下来CU,S
    """.split()
)
NEXT = tuple(
    """
    再后来,S 再往后,S 不久后,S 后来,S 后来S 再然后,S 接下来S 紧接着,S 过了一会儿,S 之后S 然后S
    接着,S 随后,S 接下来,S 之后,S 然后,S 随后S 接着S 不久,S
    """.split()
)
FIRST = tuple(
    """
    第一个镜头:S 首先S 开场:S 一开始:S 最开始,S 故事开始:S S S S 首先,S 一开始,S 开头,S 起初,S
    """.split()
)

# The whole text as a request: any text, one that begins with a noun, one that is a single clause.
ASK = tuple(
    """
    S,可以吗？ S,拜托啦 S,就要这样的视频 整个视频:S 我想到一个画面:S 能做吗？S 能帮我做个视频吗？S
    可不可以做一段动画:S 能不能生成一个视频:S 我想要一个视频,里面S 画面描述:S 内容:S 主题:S
    帮我画个动画吧,S 来一段动画:S 我的想法是:S 想象一下:S 视频内容如下:S 麻烦做个短片:S
    需要一段视频,内容:S 如果可以,请做成视频:S 动画脚本:S 故事是这样的:S 我要一个小视频,要求:S
    请你制作一段短视频:S 要是有这样的动画就好了:S 场景:S 画面:S S,做成视频 S,请帮我做出来
    请生成一个视频:S 帮我做一个视频:S 我想看这样的画面:S 做一段动画:S 生成视频:S
    请做一个动画,内容是:S 视频里,S 给我一段视频:S 帮我生成一段动画:S 请做一段视频:S
    你能做这样一段视频吗？S 提示词:S 拍一段短片,S 希望看到这样的视频:S
    """.split()
)
ASK_NOUN = tuple(
    """
    我就想看S 弄S 整S 我要S 来S 给我S 请画S 我希望看到S 能不能让我看S 做S 帮我做S 请生成S 我想看S
    给我看S 请展示S 想看S 我想看到S 让我看看S 请给我展示S 展示一下S 请给我S 求S
    """.split()
)
ASK_CLAUSE = tuple(
    """
    来个S的视频 有没有S的动画 我想看S的视频 生成S的动画 做一个视频,里面是S 请制作S的短视频
    来一段S的视频 S的视频 S的动画 请生成S的视频 帮我做S的动画 S的短片 我想要S的视频 给我S的动画
    想要S的动画
    """.split()
)
ASK_PICTURE = tuple(
    """
    照着这张图动:S 图片动起来:S 能让这张图动起来吗？S 让这张照片动起来:S 以这张图开头:S
    接着这张图往下演:S 把图做成动画,S 图动起来以后,S 把这张图变成视频:S 根据这张图片:S 图片里,S
    让图片动起来:S 用这张图做动画:S 根据这张图做视频:S 把图片变成动画:S 从这张图开始,S
    """.split()
)
